//! The demonstration: three applications share one interface, on real packets.

mod stage;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use self::stage::Stage;
use crate::command::{self, Failure};
use crate::packages;

/// The two hosts, the interface that is shared, and their addresses.
const CLIENT: &str = "dispatch-demo-client";
const SERVER: &str = "dispatch-demo-server";
const CLIENT_ADDRESS: &str = "10.77.0.1";
const SERVER_ADDRESS: &str = "10.77.0.2";
const CLIENT_PREFIX: &str = "10.77.0.0/28";
const INTERFACE: &str = "shared0";
/// A user without any privilege.
const NOBODY: u32 = 65534;
/// The member by which `AF_XDP` sockets get packets.
const REDIRECT: &str = "xsk-redirect";
/// The firewall's rules that deny nobody.
const ALLOW: &str = "default allow\n";
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
    for package in ["dispatchd", "dispatchctl", "stats", "firewall", "xsk-echo"] {
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
    stage.rule(ALLOW)?;
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
    block(stage)?;
    let answered = pings(SERVER_ADDRESS, 3);
    println!("deny {CLIENT_PREFIX}: ping gets no answer any more");
    show(&mut stage.list())?;
    if answered || stage.drops_of("firewall")? < 3 {
        return Err(Failure::new("the firewall's slot did not count the drops"));
    }

    user_space(stage)?;

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

/// A third application answers pings itself.
fn user_space(stage: &mut Stage) -> Result<(), Failure> {
    heading("Packets in user space, for a user without any privilege");
    stage.rule(ALLOW)?;
    kernel_answers(false)?;
    stage.start_as_nobody("xsk-echo", &["xsk-echo", INTERFACE])?;
    stage.wait_for_member(REDIRECT)?;
    wait(PATIENCE, "xsk-echo to answer", || pings(SERVER_ADDRESS, 1))?;
    if !pings(SERVER_ADDRESS, 3) {
        return Err(Failure::new("xsk-echo did not answer"));
    }
    println!("ping: 3 answers, with the kernel told to give none");
    show(&mut stage.list())?;
    block(stage)?;
    println!("deny {CLIENT_PREFIX}: the firewall is ahead of it, ping gets no answer any more");
    stage.rule(ALLOW)?;
    stage.kill("xsk-echo")?;
    kernel_answers(true)?;
    wait(PATIENCE, "the kernel to answer", || {
        pings(SERVER_ADDRESS, 1)
    })?;
    wait(PATIENCE, "the redirect program to go", || {
        !stage.has_member(REDIRECT)
    })?;
    println!("xsk-echo killed: packets go to the kernel again, and the redirect program is gone");
    Ok(())
}

/// Denies the client, and waits until it is.
fn block(stage: &Stage) -> Result<(), Failure> {
    stage.rule(&format!("{ALLOW}deny {CLIENT_PREFIX}\n"))?;
    wait(PATIENCE, "the firewall to block the client", || {
        !pings(SERVER_ADDRESS, 1)
    })
}

/// Whether the server's kernel answers pings.
fn kernel_answers(answers: bool) -> Result<(), Failure> {
    let ignore = u8::from(!answers);
    let write = format!("echo {ignore} > /proc/sys/net/ipv4/icmp_echo_ignore_all");
    command::quiet(Command::new("ip").args(["netns", "exec", SERVER, "sh", "-c", &write]))
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
