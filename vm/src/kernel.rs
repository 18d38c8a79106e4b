//! Kernels to run: Debian's, or any that lies somewhere.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::apt::Apt;
use crate::modules::Modules;
use crate::{Error, Result, host};

/// Debian's kernels without drivers for real hardware.
const FLAVOUR: &str = "-cloud-amd64";

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct Kernel {
    image: PathBuf,
    modules: Option<PathBuf>,
}

/// A series of kernels that Debian 12 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// The release's own.
    V6_1,
    /// That of its backports.
    V6_12,
}

impl Series {
    /// Every series.
    pub const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// `6.1`, `6.12`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    /// The newest package of this series.
    fn package(self, apt: &Apt) -> Result<String> {
        let meta = "linux-image-cloud-amd64";
        let names = match self {
            Self::V6_1 => apt.depends(meta)?,
            Self::V6_12 => apt.names("linux-image-6.12.")?,
        };
        names
            .into_iter()
            .filter(|name| name.ends_with(FLAVOUR))
            .max_by_key(|name| version(name))
            .ok_or_else(|| Error::NoKernel(format!("Debian has no kernel {}", self.name())))
    }
}

impl Kernel {
    /// Debian's newest of a series; fetched once, then taken from the [`cache`](crate::cache()).
    pub fn debian(series: Series) -> Result<Self> {
        let kept = host::cache().join(series.name());
        if !kept.exists() {
            fetch(series, &kept)?;
        }
        let boot = kept.join("boot");
        let image = fs::read_dir(&boot)
            .map_err(Error::at(boot.display()))?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| release(path).is_some())
            .ok_or_else(|| Error::NoKernel(format!("{} holds no kernel", boot.display())))?;
        Self::at(&image)
    }

    /// The kernel in this file. The modules of `…/boot/vmlinuz-RELEASE` are in
    /// `…/lib/modules/RELEASE`; any other kernel has to have what is needed built in.
    pub fn at(image: &Path) -> Result<Self> {
        let image = fs::canonicalize(image).map_err(Error::at(image.display()))?;
        let modules = release(&image).and_then(|release| {
            let root = image.parent()?.parent()?;
            Some(root.join("lib/modules").join(release))
        });
        Ok(Self {
            modules: modules.filter(|folder| folder.is_dir()),
            image,
        })
    }

    /// The file that is booted.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// The modules that come with it.
    pub(crate) fn modules(&self) -> Result<Option<Modules>> {
        self.modules.as_deref().map(Modules::read).transpose()
    }

    /// How to call it where files are named after it.
    pub(crate) fn label(&self) -> String {
        let name = release(&self.image).or_else(|| self.image.file_name()?.to_str());
        name.unwrap_or("kernel").to_owned()
    }
}

/// `RELEASE` of `vmlinuz-RELEASE`.
fn release(image: &Path) -> Option<&str> {
    let name = image.file_name().and_then(OsStr::to_str)?;
    name.strip_prefix("vmlinuz-")
}

/// Unpacks the newest kernel of a series into a folder, which is there only once it is complete.
fn fetch(series: Series, kept: &Path) -> Result<()> {
    let cache = host::cache();
    fs::create_dir_all(&cache).map_err(Error::at(cache.display()))?;
    let folder = tempfile::Builder::new()
        .prefix("fetch-")
        .tempdir_in(&cache)
        .map_err(Error::at(cache.display()))?;
    let apt = Apt::update(&folder.path().join("apt"))?;
    let package = series.package(&apt)?;
    let unpacked = folder.path().join("unpacked");
    apt.unpack(&package, &unpacked)?;
    match fs::rename(&unpacked, kept) {
        // Somebody else was as fast.
        Err(_) if kept.exists() => Ok(()),
        renamed => renamed.map_err(Error::at(kept.display())),
    }
}

/// A package's version, as numbers to compare.
fn version(package: &str) -> Vec<u64> {
    let package = package.strip_suffix(FLAVOUR).unwrap_or(package);
    package
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn newer_versions_compare_greater() {
        let names = [
            "linux-image-6.12.9+deb12-cloud-amd64",
            "linux-image-6.12.90+deb12-cloud-amd64",
            "linux-image-6.12.90+deb12.1-cloud-amd64",
            "linux-image-6.12.95+deb12-cloud-amd64",
        ];
        assert!(names.is_sorted_by_key(|name| version(name)));
    }
}
