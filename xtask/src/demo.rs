//! The demonstration: two applications share one interface, on real packets.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use crate::command::{self, Failure};
use crate::packages;

/// The two hosts, the interface that is shared, and their addresses.
const CLIENT: &str = "dispatch-demo-client";
const SERVER: &str = "dispatch-demo-server";
const CLIENT_ADDRESS: &str = "10.77.0.1";
const SERVER_ADDRESS: &str = "10.77.0.2";
const CLIENT_PREFIX: &str = "10.77.0.0/28";
const INTERFACE: &str = "shared0";
/// How long anything may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Builds, shows, and leaves nothing behind.
pub(crate) fn run() -> Result<(), Failure> {
    packages::ensure(&[packages::BUILD, packages::DEMO])?;
    if !packages::is_root() {
        return Err(Failure::new(
            "the demo needs root: it makes network namespaces and loads programs",
        ));
    }
    heading("Building");
    let mut build = command::cargo();
    build.arg("build");
    for package in ["dispatchd", "dispatchctl", "stats", "firewall"] {
        build.args(["--package", package]);
    }
    command::run(&mut build)?;
    let mut stage = Stage::new();
    let played = stage.set().and_then(|()| play(&mut stage));
    let cleared = stage.clear();
    played?;
    cleared?;
    println!("\nNothing is left: no program, no pin, no namespace.");
    Ok(())
}

fn play(stage: &mut Stage) -> Result<(), Failure> {
    heading("Two hosts, one cable");
    println!("{CLIENT} {CLIENT_ADDRESS}  <==>  {SERVER_ADDRESS} {SERVER}, interface {INTERFACE}");

    heading("The daemon, and two applications that know nothing of each other");
    stage.start_daemon()?;
    show(&mut stage.ctl(&["status"]))?;
    stage.start("stats", &["stats", INTERFACE, "--priority", "10"])?;
    stage.wait_for_member("stats")?;
    fs::write(&stage.rules, "default allow\n").map_err(|error| Failure::new(error.to_string()))?;
    let rules = stage.rules.display().to_string();
    stage.start(
        "firewall",
        &["firewall", INTERFACE, &rules, "--priority", "20"],
    )?;
    stage.wait_for_member("firewall")?;

    heading("Real traffic: ping, UDP, TCP");
    traffic()?;

    heading("What every slot said");
    show(&mut stage.list())?;

    heading("The firewall first: one swap, the same programs, the counts go on");
    show(&mut stage.ctl(&[
        "reorder", "--netns", SERVER, INTERFACE, "firewall", "--first",
    ]))?;
    traffic()?;
    show(&mut stage.list())?;

    heading("Blocking a prefix while it runs");
    fs::write(
        &stage.rules,
        format!("default allow\ndeny {CLIENT_PREFIX}\n"),
    )
    .map_err(|error| Failure::new(error.to_string()))?;
    wait(PATIENCE, "the firewall to block the client", || {
        !pings(SERVER_ADDRESS, 1)
    })?;
    let answered = pings(SERVER_ADDRESS, 3);
    println!("deny {CLIENT_PREFIX}: ping gets no answer any more");
    show(&mut stage.list())?;
    if answered || stage.drops_of("firewall")? < 3 {
        return Err(Failure::new("the firewall's slot did not count the drops"));
    }

    heading("New code for a running member: same slot, same maps");
    let object = "apps/stats/objects/stats.o";
    show(
        stage
            .ctl(&["replace", "--netns", SERVER, INTERFACE, "stats", object])
            .current_dir(workspace()),
    )?;
    show(&mut stage.list())?;

    heading("The end: everything is removed");
    show(&mut stage.ctl(&["unload", "--netns", SERVER, INTERFACE, "--all"]))?;
    wait(PATIENCE, "ping to be answered again", || {
        pings(SERVER_ADDRESS, 1)
    })?;
    println!("ping is answered again");
    Ok(())
}

/// Namespaces, a bpffs, processes: everything that has to go again.
struct Stage {
    folder: PathBuf,
    rules: PathBuf,
    running: Vec<(String, Child)>,
}

impl Stage {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("dispatch-demo-{}", process::id()));
        Self {
            rules: folder.join("rules.txt"),
            folder,
            running: Vec::new(),
        }
    }

    fn set(&self) -> Result<(), Failure> {
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

    fn start_daemon(&mut self) -> Result<(), Failure> {
        let mut daemon = Command::new(binary("dispatchd"));
        daemon.arg("--bpffs").arg(self.bpffs());
        self.spawn("dispatchd", &mut daemon)?;
        let socket = self.socket();
        wait(PATIENCE, "the daemon's socket", || socket.exists())
    }

    /// Starts an application on the server.
    fn start(&mut self, name: &str, words: &[&str]) -> Result<(), Failure> {
        println!("$ {}", words.join(" "));
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", SERVER])
            .arg(binary(words[0]))
            .args(&words[1..]);
        self.spawn(name, &mut command)
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

    fn ctl(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary("dispatchctl"));
        command.args(words).env("DISPATCHD_SOCKET", self.socket());
        command
    }

    fn list(&self) -> Command {
        self.ctl(&["list", "--netns", SERVER, INTERFACE])
    }

    fn wait_for_member(&self, name: &str) -> Result<(), Failure> {
        let member = |()| {
            command::quiet(&mut self.ctl(&["show", "--netns", SERVER, INTERFACE, name])).is_ok()
        };
        wait(PATIENCE, name, || member(())).map_err(|failure| {
            let log = fs::read_to_string(self.log(name)).unwrap_or_default();
            Failure::new(format!("{failure}\n{log}"))
        })
    }

    /// The drops that a member's slot counted.
    fn drops_of(&self, name: &str) -> Result<u64, Failure> {
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
    fn clear(&mut self) -> Result<(), Failure> {
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

/// Ping, UDP and TCP from the client to the server.
fn traffic() -> Result<(), Failure> {
    if !pings(SERVER_ADDRESS, 3) {
        return Err(Failure::new("ping was not answered"));
    }
    println!("ping: 3 answers");
    for protocol in ["udp", "tcp"] {
        let exe = std::env::current_exe().map_err(|error| Failure::new(error.to_string()))?;
        let mut echo = Command::new("ip")
            .args(["netns", "exec", SERVER])
            .arg(&exe)
            .args(["demo-traffic", protocol, "serve", SERVER_ADDRESS])
            .spawn()
            .map_err(|error| Failure::new(error.to_string()))?;
        let asked = command::output(
            Command::new("ip")
                .args(["netns", "exec", CLIENT])
                .arg(&exe)
                .args(["demo-traffic", protocol, "ask", SERVER_ADDRESS]),
        );
        let _ = echo.kill();
        let _ = echo.wait();
        print!("{}", asked?);
    }
    Ok(())
}

fn pings(address: &str, count: u32) -> bool {
    let count = count.to_string();
    command::quiet(Command::new("ip").args([
        "netns", "exec", CLIENT, "ping", "-q", "-i", "0.05", "-W", "1", "-c", &count, address,
    ]))
    .is_ok()
}

fn ip(words: &[&str]) -> Result<(), Failure> {
    command::quiet(Command::new("ip").args(words))
}

fn binary(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join("debug").join(name)
}

fn workspace() -> &'static Path {
    let this_crate = Path::new(env!("CARGO_MANIFEST_DIR"));
    this_crate.parent().unwrap_or(this_crate)
}

fn heading(text: &str) {
    println!("\n== {text}\n");
    let _ = std::io::stdout().flush();
}

/// Shows a command as typed, and what it says.
fn show(command: &mut Command) -> Result<(), Failure> {
    let words: Vec<_> = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    println!("$ dispatchctl {}", words.join(" "));
    print!("{}", command::output(command)?);
    Ok(())
}

fn wait(patience: Duration, what: &str, done: impl FnMut() -> bool) -> Result<(), Failure> {
    let mut done = done;
    let deadline = Instant::now() + patience;
    while !done() {
        if Instant::now() >= deadline {
            return Err(Failure::new(format!(
                "waited {patience:?} for {what}, in vain"
            )));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
