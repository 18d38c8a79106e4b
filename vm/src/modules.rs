//! A kernel's loadable modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object as _, ObjectSection as _};

use crate::{Error, Result, host};

/// The modules of one kernel.
pub(crate) struct Modules {
    files: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
}

/// A module, as the kernel takes it.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Modules {
    /// Finds the modules in `…/lib/modules/RELEASE`.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        find(&folder.join("kernel"), &mut files)?;
        let list = folder.join("modules.builtin");
        let built_in = fs::read_to_string(&list).map_err(Error::at(list.display()))?;
        let built_in = built_in.lines().filter_map(|line| name(Path::new(line)));
        Ok(Self {
            files,
            built_in: built_in.collect(),
        })
    }

    /// These modules and what they depend on, in an order in which they can be loaded.
    pub(crate) fn closure(&self, wanted: &[String]) -> Result<Vec<Module>> {
        let mut loaded = Vec::new();
        for name in wanted {
            self.add(&normal(name), &mut loaded)?;
        }
        Ok(loaded)
    }

    fn add(&self, name: &str, loaded: &mut Vec<Module>) -> Result<()> {
        if self.built_in.contains(name) || loaded.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let file = self.files.get(name);
        let file = file.ok_or_else(|| Error::NoModule(name.to_owned()))?;
        let bytes = contents(file)?;
        for dependency in dependencies(&bytes) {
            self.add(&dependency, loaded)?;
        }
        loaded.push(Module {
            name: name.to_owned(),
            bytes,
        });
        Ok(())
    }
}

fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::at(folder.display()))? {
        let path = entry.map_err(Error::at(folder.display()))?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if let Some(name) = name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// The name of the module in `NAME.ko` or `NAME.ko.xz`.
fn name(path: &Path) -> Option<String> {
    let (name, kind) = path.file_name()?.to_str()?.split_once('.')?;
    kind.starts_with("ko").then(|| normal(name))
}

/// The kernel takes both for the same.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn contents(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|extension| extension == "xz") {
        return host::output(
            Command::new("xz")
                .args(["--decompress", "--stdout"])
                .arg(file),
        );
    }
    fs::read(file).map_err(Error::at(file.display()))
}

/// What a module says it depends on: `depends=one,two` in its `.modinfo`.
fn dependencies(module: &[u8]) -> Vec<String> {
    let information = object::File::parse(module)
        .ok()
        .and_then(|file| file.section_by_name(".modinfo")?.data().ok())
        .unwrap_or_default();
    information
        .split(|byte| *byte == 0)
        .filter_map(|entry| entry.strip_prefix(b"depends="))
        .flat_map(|names| names.split(|byte| *byte == b','))
        .filter(|name| !name.is_empty())
        .map(|name| normal(&String::from_utf8_lossy(name)))
        .collect()
}
