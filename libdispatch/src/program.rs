//! A program to be registered: the object's bytes and how it is to run.

use std::{fmt, fs::File, io, io::Read as _, path::Path, sync::Arc, time::Duration};

use dispatcher_abi::{EngineChoice, Lifetime, ModeChoice, OnMiss, Priority, VerdictMask};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// How long a member outlives a lost connection if its program doesn't say.
const LINGER_DEFAULT: Duration = Duration::from_secs(30);

/// An XDP program in an object file, with everything that its registration says.
///
/// A value without a setter is left to the object (libxdp's `.xdp_run_config`: priority and
/// chain-call actions), then to the default that the setter names.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) object: Object,
    pub(crate) mode: Option<ModeChoice>,
    name: Option<String>,
    function: Option<String>,
    priority: Option<Priority>,
    chain_call: Option<VerdictMask>,
    allowed: Option<VerdictMask>,
    on_miss: OnMiss,
    lifetime: Lifetime,
    linger: Duration,
    engine: EngineChoice,
    tail_depth: Option<u32>,
    share_group: Option<String>,
    map_sizes: Vec<(String, u32)>,
    globals: Vec<(String, GlobalValue)>,
    tail_calls: Vec<protocol::TailCall>,
    frags: bool,
}

impl Program {
    /// The object in a file. The file is read now: what is registered later is what it held then.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = read_bounded(path).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::from_bytes(bytes))
    }

    /// The object in these bytes.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self {
            object: Object::new(bytes.into()),
            mode: None,
            name: None,
            function: None,
            priority: None,
            chain_call: None,
            allowed: None,
            on_miss: OnMiss::Abort,
            lifetime: Lifetime::Attached,
            linger: LINGER_DEFAULT,
            engine: EngineChoice::Auto,
            tail_depth: None,
            share_group: None,
            map_sizes: Vec::new(),
            globals: Vec::new(),
            tail_calls: Vec::new(),
            frags: false,
        }
    }

    /// The program's function in the object. Default: the object's only program.
    #[must_use]
    pub fn program(mut self, function: impl Into<String>) -> Self {
        self.function = Some(function.into());
        self
    }

    /// The member's name, unique in its chain. Default: the program's function.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where it runs: lower first. Default: 50.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// The verdicts after which the next slot runs. Default: PASS.
    #[must_use]
    pub fn chain_call(mut self, verdicts: VerdictMask) -> Self {
        self.chain_call = Some(verdicts);
        self
    }

    /// The verdicts that the program may decide; any other is counted as overruled and the next
    /// slot runs. Default: all.
    #[must_use]
    pub fn allowed(mut self, verdicts: VerdictMask) -> Self {
        self.allowed = Some(verdicts);
        self
    }

    /// What happens to a packet for which the program could not be run. Default: ABORTED.
    #[must_use]
    pub fn on_miss(mut self, on_miss: OnMiss) -> Self {
        self.on_miss = on_miss;
        self
    }

    /// How long the member outlives its connection, so that it can be re-claimed. In whole
    /// milliseconds. Default: 30 s.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// The member stays until it is unregistered or the machine reboots; dropping its
    /// [`Registration`](crate::Registration) doesn't unregister it.
    #[must_use]
    pub fn kept(mut self) -> Self {
        self.lifetime = Lifetime::Kept;
        self
    }

    /// The engine that may run it. Default: freplace where kernel and program allow it, tail calls
    /// otherwise.
    #[must_use]
    pub fn engine(mut self, engine: EngineChoice) -> Self {
        self.engine = engine;
        self
    }

    /// Where the hook is to be, if this registration makes the chain; refused if the chain runs in
    /// another mode. Default: native, or generic where the driver can't.
    #[must_use]
    pub fn mode(mut self, mode: ModeChoice) -> Self {
        self.mode = Some(mode);
        self
    }

    /// How many tail calls the program itself makes for one packet, at most. Default: 1 if its
    /// object holds a program array, 0 otherwise. Tail-called members' calls together share 33; a freplaced member has
    /// 33 of its own.
    #[must_use]
    pub fn tail_depth(mut self, calls: u32) -> Self {
        self.tail_depth = Some(calls);
        self
    }

    /// Puts another function of the object into one of its program arrays.
    #[must_use]
    pub fn tail_call(
        mut self,
        map: impl Into<String>,
        index: u32,
        function: impl Into<String>,
    ) -> Self {
        self.tail_calls.push(protocol::TailCall {
            map: map.into(),
            index,
            program: function.into(),
        });
        self
    }

    /// The program takes packets of several buffers, even if its section doesn't say so
    /// (`xdp.frags`). A chain takes such packets if all its members do; a native hook on an
    /// interface whose packets don't fit one page takes no other chain (Linux 5.18).
    #[must_use]
    pub fn frags(mut self) -> Self {
        self.frags = true;
        self
    }

    /// How many entries a map has, instead of what the object says.
    #[must_use]
    pub fn map_size(mut self, map: impl Into<String>, entries: u32) -> Self {
        self.map_sizes.push((map.into(), entries));
        self
    }

    /// The value of a global variable, set before the program is loaded.
    #[must_use]
    pub fn global(mut self, variable: impl Into<String>, value: impl Into<GlobalValue>) -> Self {
        self.globals.push((variable.into(), value.into()));
        self
    }

    /// Shares maps of equal name and shape with every member of the same uid in the same group,
    /// on whatever interface.
    #[must_use]
    pub fn share_group(mut self, group: impl Into<String>) -> Self {
        self.share_group = Some(group.into());
        self
    }

    /// What is asked of the daemon. The token is for this one registration.
    pub(crate) fn registration(&self, token: protocol::Token) -> protocol::Registration {
        protocol::Registration {
            name: self.name.clone(),
            source: self.source(),
            priority: self.priority,
            chain_call: self.chain_call,
            allowed: self.allowed,
            on_miss: self.on_miss,
            lifetime: self.lifetime,
            linger_ms: u32::try_from(self.linger.as_millis()).unwrap_or(u32::MAX),
            engine: self.engine,
            tail_depth: self.tail_depth,
            share_group: self.share_group.clone(),
            token,
            options: protocol::Options::new(),
        }
    }

    /// The part that a replacement uses too.
    pub(crate) fn source(&self) -> protocol::Source {
        protocol::Source::Object(protocol::ObjectSource {
            object: self.object.digest,
            program: self.function.clone(),
            map_sizes: self.map_sizes.clone(),
            globals: self
                .globals
                .iter()
                .map(|(variable, value)| (variable.clone(), value.clone().into()))
                .collect(),
            tail_calls: self.tail_calls.clone(),
            frags: self.frags,
            options: protocol::Options::new(),
        })
    }
}

/// A file's bytes, if they are few enough to be an object.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let limit = protocol::OBJECT_BYTES_MAX as u64;
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("larger than an object may be, {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// The value of a global variable of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GlobalValue {
    /// An integer, stored in the variable's size (1, 2, 4 or 8 bytes); refused if it doesn't fit.
    Integer(i128),
    /// The variable's bytes, exactly as many as it has.
    Bytes(Vec<u8>),
}

macro_rules! integer_globals {
    ($($integer:ty)+) => {
        $(impl From<$integer> for GlobalValue {
            fn from(value: $integer) -> Self {
                Self::Integer(value.into())
            }
        })+
    };
}

integer_globals!(bool i8 u8 i16 u16 i32 u32 i64 u64);

impl From<Vec<u8>> for GlobalValue {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for GlobalValue {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_owned())
    }
}

impl From<GlobalValue> for protocol::GlobalValue {
    fn from(value: GlobalValue) -> Self {
        match value {
            GlobalValue::Integer(integer) => Self::Integer(integer),
            GlobalValue::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

/// An object's bytes and their name.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) digest: protocol::Digest,
}

impl Object {
    fn new(bytes: Arc<[u8]>) -> Self {
        let digest = Sha256::digest(&bytes).into();
        Self { bytes, digest }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_by_its_sha256() {
        let program = Program::from_bytes(*b"abc");
        // The test vector of FIPS 180-2, appendix B.1.
        assert_eq!(program.object.digest[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    #[test]
    fn nothing_said_leaves_it_to_the_object() {
        let registration = Program::from_bytes(*b"abc").registration([7; 16]);
        assert_eq!(registration.name, None);
        assert_eq!(registration.priority, None);
        assert_eq!(registration.chain_call, None);
        assert_eq!(registration.linger_ms, 30_000);
    }

    #[test]
    fn a_file_that_does_not_exist_is_named() {
        let error = Program::from_file("/no/such/object.o").unwrap_err();
        assert_eq!(error.to_string(), "/no/such/object.o");
    }
}
