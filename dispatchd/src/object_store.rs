//! The objects of members, kept by content, so that a member's code can be loaded again: the kernel
//! keeps programs, and not what they were made from.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use planner::Digest;
use sha2::{Digest as _, Sha256};

/// A directory of objects, each `<sha256>.o`: what lies on a tmpfs goes with a reboot, as the
/// programs do.
#[derive(Clone, Debug)]
pub struct ObjectStore {
    dir: PathBuf,
}

impl ObjectStore {
    /// Opens the directory, and makes it if need be. It must be this user's own, and nobody else
    /// may look into it: what is loaded from it is trusted as far as whoever brought it was.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        let objects = Self { dir };
        objects.make_dir()?;
        Ok(objects)
    }

    fn make_dir(&self) -> io::Result<()> {
        // What is above is for everybody: the socket lies there.
        if let Some(parent) = self.dir.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(&self.dir)?;
        let is_own = found.is_dir()
            && found.uid() == rustix::process::geteuid().as_raw()
            && found.mode() & 0o777 == 0o700;
        if is_own {
            Ok(())
        } else {
            Err(io::Error::other(
                "it is not a directory of this user's own, mode 0700",
            ))
        }
    }

    /// Keeps an object.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(digest);
        if path.exists() {
            return Ok(());
        }
        // Somebody may have removed it.
        self.make_dir()?;
        // Beside it and then renamed: an object is there whole or not at all.
        let partial = path.with_extension("part");
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(&partial)?;
        file.write_all(bytes)?;
        fs::rename(&partial, &path)
    }

    /// A kept object.
    pub fn get(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        let bytes = fs::read(self.path(digest))?;
        if *digest == *Sha256::digest(&bytes) {
            Ok(bytes)
        } else {
            Err(io::Error::other("the kept object was changed"))
        }
    }

    /// The objects that are kept.
    pub fn kept(&self) -> io::Result<BTreeSet<Digest>> {
        let mut kept = BTreeSet::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let digest = digest_of(&path);
            kept.extend(digest.filter(|digest| self.path(digest) == path));
        }
        Ok(kept)
    }

    /// Drops every object but these.
    pub fn drop_unused(&self, keep: &BTreeSet<Digest>) -> io::Result<()> {
        let used: BTreeSet<PathBuf> = keep.iter().map(|sha256| self.path(sha256)).collect();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if !used.contains(&path) && digest_of(&path).is_some() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let mut name = String::with_capacity(2 * digest.len() + 2);
        for byte in digest {
            // Writing to a string can't fail.
            let _ = write!(name, "{byte:02x}");
        }
        self.dir.join(name + ".o")
    }
}

/// The object that a file of this module's making is, or is a part of.
fn digest_of(path: &Path) -> Option<Digest> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    if !matches!(extension, Some("o" | "part")) {
        return None;
    }
    let stem = path.file_stem()?.to_str()?;
    let mut digest = Digest::default();
    if stem.len() != 2 * digest.len() || !stem.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&stem[2 * index..][..2], 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ObjectStore) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let objects = ObjectStore::open(dir.path().join("objects")).expect("a new directory");
        (dir, objects)
    }

    #[test]
    fn an_object_is_there_until_nobody_runs_it() {
        let (_dir, objects) = store();
        let used: Digest = Sha256::digest(b"used").into();
        let other: Digest = Sha256::digest(b"other").into();
        for _ in 0..2 {
            objects.put(&used, b"used").expect("room");
            objects.put(&other, b"other").expect("room");
        }
        assert_eq!(
            objects.kept().expect("readable"),
            BTreeSet::from([used, other])
        );
        objects
            .drop_unused(&BTreeSet::from([used]))
            .expect("readable");
        assert_eq!(objects.get(&used).expect("kept"), b"used");
        assert_eq!(
            objects.get(&other).expect_err("dropped").kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn only_a_directory_of_ones_own_is_used_and_what_is_above_it_is_for_everybody() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let above = dir.path().join("above");
        let objects = ObjectStore::open(above.join("objects")).expect("a new directory");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
        assert_eq!(mode(&objects.dir), 0o700);
        assert_ne!(mode(&above) & 0o011, 0);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&objects.dir, &link).expect("it can be made");
        assert!(ObjectStore::open(link).is_err());
        let open = dir.path().join("open");
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&open)
            .expect("it can be made");
        assert!(ObjectStore::open(open).is_err());
    }

    #[test]
    fn a_directory_that_is_gone_is_made_again() {
        let (_dir, objects) = store();
        fs::remove_dir(&objects.dir).expect("it is empty");
        let digest: Digest = Sha256::digest(b"object").into();
        objects.put(&digest, b"object").expect("room");
        assert_eq!(objects.get(&digest).expect("kept"), b"object");
    }

    #[test]
    fn what_was_changed_is_not_loaded() {
        let (_dir, objects) = store();
        let digest: Digest = Sha256::digest(b"object").into();
        objects.put(&digest, b"another").expect("room");
        assert!(objects.get(&digest).is_err());
    }

    #[test]
    fn what_somebody_else_put_there_stays() {
        let (_dir, objects) = store();
        let stranger = objects.dir.join("README.o");
        fs::write(&stranger, "x").expect("writable");
        // What a daemon that was killed did not finish is none of the kept ones, and goes.
        let partial = objects.path(&[0xab; 32]).with_extension("part");
        fs::write(&partial, "x").expect("writable");
        assert_eq!(objects.kept().expect("readable"), BTreeSet::new());
        objects.drop_unused(&BTreeSet::new()).expect("readable");
        assert!(stranger.exists());
        assert!(!partial.exists());
    }
}
