//! What the demonstration is played on.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::{fs, process};

use super::{
    CLIENT, CLIENT_ADDRESS, INTERFACE, NOBODY, PATIENCE, SERVER, SERVER_ADDRESS, binary, ip, wait,
};
use crate::command::{self, Failure};

/// Namespaces, a bpffs, processes: everything that has to go again.
pub(super) struct Stage {
    folder: PathBuf,
    pub(super) rules: PathBuf,
    running: Vec<(String, Child)>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("dispatch-demo-{}", process::id()));
        Self {
            rules: folder.join("rules.txt"),
            folder,
            running: Vec::new(),
        }
    }

    pub(super) fn set(&self) -> Result<(), Failure> {
        // What an interrupted demo left.
        for namespace in [CLIENT, SERVER] {
            let _ = command::quiet(Command::new("ip").args(["netns", "delete", namespace]));
        }
        fs::create_dir_all(self.bpffs()).map_err(|error| Failure::new(error.to_string()))?;
        command::quiet(
            Command::new("mount")
                .args(["-t", "bpf", "bpf"])
                .arg(self.bpffs()),
        )?;
        for namespace in [CLIENT, SERVER] {
            ip(&["netns", "add", namespace])?;
        }
        ip(&[
            "link", "add", "cable0", "netns", CLIENT, "type", "veth", "peer", "name", INTERFACE,
            "netns", SERVER,
        ])?;
        for (namespace, interface, address) in [
            (CLIENT, "cable0", CLIENT_ADDRESS),
            (SERVER, INTERFACE, SERVER_ADDRESS),
        ] {
            let address = format!("{address}/24");
            ip(&["-n", namespace, "addr", "add", &address, "dev", interface])?;
            ip(&["-n", namespace, "link", "set", interface, "up"])?;
        }
        Ok(())
    }

    fn bpffs(&self) -> PathBuf {
        self.folder.join("bpffs")
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("dispatchd.sock")
    }

    pub(super) fn start_daemon(&mut self) -> Result<(), Failure> {
        let mut daemon = Command::new(binary("dispatchd"));
        daemon.arg("--bpffs").arg(self.bpffs());
        // Before Linux 6.4 whom it lets in has to bind sockets itself.
        daemon.args(["--allow-uid", &NOBODY.to_string()]);
        daemon.args(["--allow-bare", &NOBODY.to_string()]);
        self.spawn("dispatchd", &mut daemon)?;
        let socket = self.socket();
        wait(PATIENCE, "the daemon's socket", || socket.exists())
    }

    /// Starts an application on the server.
    pub(super) fn start(&mut self, name: &str, words: &[&str]) -> Result<(), Failure> {
        println!("$ {}", words.join(" "));
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", SERVER])
            .arg(binary(words[0]))
            .args(&words[1..]);
        self.spawn(name, &mut command)
    }

    /// Starts an application on the server, as a user without any privilege.
    pub(super) fn start_as_nobody(&mut self, name: &str, words: &[&str]) -> Result<(), Failure> {
        let user = NOBODY.to_string();
        let setpriv = [
            "--reuid",
            &user,
            "--regid",
            &user,
            "--clear-groups",
            "--no-new-privs",
        ];
        let no_capabilities = [
            "--inh-caps=-all",
            "--ambient-caps=-all",
            "--bounding-set=-all",
        ];
        // Where nobody may read it: the sources can be in a folder that is root's alone.
        let program = self.folder.join(words[0]);
        fs::copy(binary(words[0]), &program).map_err(|error| Failure::new(error.to_string()))?;
        println!("nobody$ {}", words.join(" "));
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", SERVER, "setpriv"])
            .args(setpriv)
            .args(no_capabilities)
            .arg(program)
            .args(&words[1..]);
        self.spawn(name, &mut command)
    }

    /// Ends an application as a crash does.
    pub(super) fn kill(&mut self, name: &str) -> Result<(), Failure> {
        let found = self.running.iter().position(|(running, _)| running == name);
        let found = found.ok_or_else(|| Failure::new(format!("{name} doesn't run")))?;
        let (_, mut child) = self.running.remove(found);
        child
            .kill()
            .and_then(|()| child.wait())
            .map_err(|error| Failure::new(format!("{name}: {error}")))?;
        Ok(())
    }

    /// Has the firewall use these rules.
    pub(super) fn rule(&self, rules: &str) -> Result<(), Failure> {
        fs::write(&self.rules, rules).map_err(|error| Failure::new(error.to_string()))
    }

    fn spawn(&mut self, name: &str, command: &mut Command) -> Result<(), Failure> {
        let io = |error: std::io::Error| Failure::new(format!("{name}: {error}"));
        let log = fs::File::create(self.log(name)).map_err(io)?;
        let child = command
            .env("DISPATCHD_SOCKET", self.socket())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(io)?)
            .stderr(log)
            .spawn()
            .map_err(io)?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    pub(super) fn ctl(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary("dispatchctl"));
        command.args(words).env("DISPATCHD_SOCKET", self.socket());
        command
    }

    pub(super) fn list(&self) -> Command {
        self.ctl(&["list", "--netns", SERVER, INTERFACE])
    }

    pub(super) fn wait_for_member(&self, name: &str) -> Result<(), Failure> {
        wait(PATIENCE, name, || self.has_member(name)).map_err(|failure| {
            let log = fs::read_to_string(self.log(name)).unwrap_or_default();
            Failure::new(format!("{failure}\n{log}"))
        })
    }

    /// Whether the chain has a member.
    pub(super) fn has_member(&self, name: &str) -> bool {
        command::quiet(&mut self.ctl(&["show", "--netns", SERVER, INTERFACE, name])).is_ok()
    }

    /// The drops that a member's slot counted.
    pub(super) fn drops_of(&self, name: &str) -> Result<u64, Failure> {
        let shown = command::output(
            &mut self.ctl(&["show", "--netns", SERVER, INTERFACE, name, "--json"]),
        )?;
        // One number out of one document: not worth a JSON parser here.
        let drops = shown
            .split("\"drop\":")
            .nth(1)
            .map(str::trim_start)
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
            .and_then(|digits| digits.parse().ok());
        drops.ok_or_else(|| Failure::new(format!("no drops in {shown}")))
    }

    /// Ends the applications, then the daemon, then the namespaces; says what was left.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        for (name, mut child) in self.running.drain(..).rev() {
            let pid = child.id().to_string();
            let _ = command::quiet(Command::new("kill").args(["-TERM", &pid]));
            if wait(PATIENCE, &name, || matches!(child.try_wait(), Ok(Some(_)))).is_err() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        let pins = fs::read_dir(self.bpffs().join("dispatchd"))
            .map(Iterator::count)
            .unwrap_or_default();
        let _ = command::quiet(Command::new("umount").arg(self.bpffs()));
        for namespace in [CLIENT, SERVER] {
            let _ = command::quiet(Command::new("ip").args(["netns", "delete", namespace]));
        }
        let removed = fs::remove_dir_all(&self.folder);
        if pins > 0 {
            return Err(Failure::new(format!("{pins} pinned chains were left")));
        }
        removed.map_err(|error| Failure::new(format!("{}: {error}", self.folder.display())))
    }
}
