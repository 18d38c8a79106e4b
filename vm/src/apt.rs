//! Fetches Debian packages of suites that this machine doesn't install from.
//!
//! The machine's own configuration only tells the mirror's address; lists and packages go to a folder
//! of our own, and nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, Result, host};

/// Debian 12: the release whose kernels are run.
const RELEASE: &str = "bookworm";
/// What Debian signs its releases with (package `debian-archive-keyring`).
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Debian's packages of [`RELEASE`] and its backports.
pub(crate) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Reads the package lists into a folder.
    pub(crate) fn update(folder: &Path) -> Result<Self> {
        // apt takes only absolute paths.
        let folder = std::path::absolute(folder).map_err(Error::at(folder.display()))?;
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).map_err(Error::at(part.display()))?;
        }
        let list = folder.join("sources.list");
        fs::write(&list, sources()?).map_err(Error::at(list.display()))?;
        let apt = Self { folder };
        host::output(apt.command("apt-get").args(["--quiet", "update"]))?;
        Ok(apt)
    }

    /// What a package depends on, without versions.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let listing = host::text(self.command("apt-cache").args(["depends", package]))?;
        let depends = listing
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .map(str::to_owned);
        Ok(depends.collect())
    }

    /// The names of all packages that begin like this.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let listing = host::text(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(listing.lines().map(str::to_owned).collect())
    }

    /// Fetches a package and unpacks it into a folder.
    pub(crate) fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        let fetched = self.folder.join("packages");
        fs::create_dir_all(&fetched).map_err(Error::at(fetched.display()))?;
        host::output(
            self.command("apt-get")
                .args(["--quiet", "download", package])
                .current_dir(&fetched),
        )?;
        for entry in fs::read_dir(&fetched).map_err(Error::at(fetched.display()))? {
            let archive = entry.map_err(Error::at(fetched.display()))?.path();
            host::output(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .arg(&archive)
                    .arg(into),
            )?;
            fs::remove_file(&archive).map_err(Error::at(archive.display()))?;
        }
        Ok(())
    }

    /// One of apt's programs, with our folder in place of the machine's.
    fn command(&self, program: &str) -> Command {
        let folder = self.folder.display();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::State={folder}/state"),
            "Dir::State::status=/dev/null".to_owned(),
            format!("Dir::Cache={folder}/cache"),
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Acquire::Languages=none".to_owned(),
            // The folder may be where only this user can write.
            "APT::Sandbox::User=root".to_owned(),
            "APT::Architecture=amd64".to_owned(),
        ] {
            command.args(["--option", &option]);
        }
        command
    }
}

/// The source lines: the mirrors that the machine uses for its own Debian release, with [`RELEASE`]
/// in its place.
fn sources() -> Result<String> {
    let targets = host::text(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]))?;
    let own_release = own_release()?;
    let mut lines = String::new();
    for target in targets.lines() {
        let [uri, suite, "main"] = target.split(' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        let Some(kind) = suite.strip_prefix(own_release.as_str()) else {
            continue;
        };
        let suites: &[&str] = match kind {
            "" => &["", "-backports"],
            "-updates" | "-security" => &[kind],
            _ => continue,
        };
        for kind in suites {
            let line = format!("deb [signed-by={KEYRING}] {uri} {RELEASE}{kind} main\n");
            if !lines.contains(&line) {
                lines.push_str(&line);
            }
        }
    }
    if lines.is_empty() {
        return Err(Error::NoKernel(format!(
            "apt has no source for {own_release}, so Debian's kernels can't be fetched; give one by --kernel"
        )));
    }
    Ok(lines)
}

/// The codename of the Debian release that runs here.
fn own_release() -> Result<String> {
    let path = "/etc/os-release";
    let text = fs::read_to_string(path).map_err(Error::at(path))?;
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .ok_or_else(|| Error::NoKernel(format!("{path} names no release: this is not Debian")))
}
