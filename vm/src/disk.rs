//! The initial RAM disk: everything that the guest has.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use cpio::newc::{self, ModeFileType};

use crate::{Error, Result, host};

/// Files by their path in the guest.
#[derive(Default)]
pub(crate) struct Disk {
    entries: BTreeMap<PathBuf, Entry>,
}

enum Entry {
    Folder,
    Link(PathBuf),
    Bytes(Vec<u8>),
    Host(PathBuf),
    Program(PathBuf),
}

impl Disk {
    /// An empty folder.
    pub(crate) fn folder(&mut self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        // A folder that is a link on the host stays one.
        if path.parent().is_some() && !self.entries.contains_key(path) {
            self.add_folders_of(path);
            self.entries.insert(path.to_owned(), Entry::Folder);
        }
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: impl AsRef<Path>, target: impl AsRef<Path>) {
        self.insert(path.as_ref(), Entry::Link(target.as_ref().to_owned()));
    }

    /// A file with these contents.
    pub(crate) fn bytes(&mut self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) {
        self.insert(path.as_ref(), Entry::Bytes(bytes.into()));
    }

    /// A file of the host, or a folder with all that is in it.
    pub(crate) fn host(&mut self, path: impl AsRef<Path>, host: &Path) -> Result<()> {
        let path = path.as_ref();
        if !host.is_dir() {
            self.insert(path, Entry::Host(host.to_owned()));
            return Ok(());
        }
        self.folder(path);
        for entry in fs::read_dir(host).map_err(Error::at(host.display()))? {
            let entry = entry.map_err(Error::at(host.display()))?;
            self.host(path.join(entry.file_name()), &entry.path())?;
        }
        Ok(())
    }

    /// A program of the host, without its debug information, which is most of it.
    pub(crate) fn program(&mut self, path: impl AsRef<Path>, host: &Path) {
        self.insert(path.as_ref(), Entry::Program(host.to_owned()));
    }

    /// Whether something is there.
    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.entries.contains_key(path.as_ref())
    }

    /// The files of the host that are carried.
    pub(crate) fn host_files(&self) -> impl Iterator<Item = &Path> {
        self.entries.values().filter_map(|entry| match entry {
            Entry::Host(path) | Entry::Program(path) => Some(path.as_path()),
            Entry::Folder | Entry::Link(_) | Entry::Bytes(_) => None,
        })
    }

    /// The archive that the kernel unpacks, in a file without a name.
    pub(crate) fn archive(&self, folder: &Path) -> Result<File> {
        self.write(folder)
            .map_err(Error::at("the initial RAM disk"))
    }

    fn write(&self, folder: &Path) -> io::Result<File> {
        let mut archive = BufWriter::new(tempfile::tempfile_in(folder)?);
        for (path, entry) in &self.entries {
            let name = path.strip_prefix("/").unwrap_or(path);
            let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
            write_entry(&mut archive, name, entry)
                .map_err(|error| io::Error::new(error.kind(), format!("/{name}: {error}")))?;
        }
        let mut file = newc::trailer(archive)?.into_inner()?;
        file.rewind()?;
        Ok(file)
    }

    fn insert(&mut self, path: &Path, entry: Entry) {
        self.add_folders_of(path);
        self.entries.insert(path.to_owned(), entry);
    }

    fn add_folders_of(&mut self, path: &Path) {
        if let Some(parent) = path.parent() {
            self.folder(parent);
        }
    }
}

fn write_entry(archive: &mut impl Write, name: &str, entry: &Entry) -> io::Result<()> {
    let builder = newc::Builder::new(name).nlink(1);
    let mut plain = |builder: newc::Builder, kind, mode, bytes: &[u8]| {
        let builder = builder.mode(mode).set_mode_file_type(kind);
        let mut writer = builder.write(&mut *archive, size(bytes.len() as u64)?);
        writer.write_all(bytes)?;
        writer.finish().map(drop)
    };
    match entry {
        Entry::Folder => plain(builder, ModeFileType::Directory, 0o755, &[]),
        Entry::Link(target) => {
            let target = target.as_os_str().as_encoded_bytes();
            plain(builder, ModeFileType::Symlink, 0o777, target)
        }
        Entry::Bytes(bytes) => plain(builder, ModeFileType::Regular, 0o644, bytes),
        Entry::Host(path) => write_file(archive, builder, path),
        Entry::Program(path) => {
            let stripped = tempfile::NamedTempFile::new()?;
            let mut strip = Command::new("strip");
            strip.arg("--strip-debug").arg("-o").arg(stripped.path());
            host::output(strip.arg(path)).map_err(io::Error::other)?;
            write_file(archive, builder, stripped.path())
        }
    }
}

fn write_file(archive: &mut impl Write, builder: newc::Builder, path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let builder = builder
        .mode(metadata.permissions().mode() & 0o777)
        .mtime(u32::try_from(metadata.mtime()).unwrap_or_default())
        .set_mode_file_type(ModeFileType::Regular);
    let mut writer = builder.write(archive, size(metadata.len())?);
    io::copy(&mut file, &mut writer)?;
    writer.finish().map(drop)
}

/// The format's sizes have 32 bits.
fn size(bytes: u64) -> io::Result<u32> {
    u32::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
