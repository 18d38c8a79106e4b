//! The program's maps in the kernel.

use std::error::Error;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use firewall_abi::{
    Action, DEFAULT_MAP, OUTCOMES_MAP, Outcome, SERVICES_MAP, SOURCES4_MAP, SOURCES6_MAP, Service,
    Source,
};
use libdispatch::Registration;
use rustix::thread::{MembarrierCommand, membarrier};
use shell::Failure;

use crate::batch;
use crate::rules::{Family, Prefix};
use crate::tables::Step;

/// A [`Source`] field by field, which aya takes as it is.
type SourceValue = [u32; 4];
/// A [`Service`] byte by byte.
type ServiceBytes = [u8; 8];

const _: () = assert!(size_of::<Source>() == size_of::<SourceValue>());
const _: () = assert!(size_of::<Service>() == size_of::<ServiceBytes>());

/// Every map of the program.
pub(crate) struct Maps {
    sources4: Table<LpmTrie<MapData, [u8; 4], SourceValue>>,
    sources6: Table<LpmTrie<MapData, [u8; 16], SourceValue>>,
    services: Table<HashMap<MapData, ServiceBytes, u32>>,
    default: Array<MapData, u32>,
    outcomes: PerCpuArray<MapData, u64>,
}

/// A step that was done in part.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// How many of its entries.
    pub(crate) done: usize,
    pub(crate) failure: Failure,
}

impl Maps {
    /// A registered program's.
    pub(crate) fn of(registration: &Registration) -> Result<Self, Failure> {
        let map = |name| {
            let map = registration.map(name);
            map.map_err(Failure::on(registration.interface()))
        };
        let typed = |name| {
            let map = registration.aya_map(name);
            map.map_err(Failure::on(registration.interface()))
        };
        let default = typed(DEFAULT_MAP)?.try_into();
        let outcomes = typed(OUTCOMES_MAP)?.try_into();
        Ok(Self {
            sources4: Table::of(SOURCES4_MAP, map(SOURCES4_MAP)?)?,
            sources6: Table::of(SOURCES6_MAP, map(SOURCES6_MAP)?)?,
            services: Table::of(SERVICES_MAP, map(SERVICES_MAP)?)?,
            default: default.map_err(Failure::map(DEFAULT_MAP))?,
            outcomes: outcomes.map_err(Failure::map(OUTCOMES_MAP))?,
        })
    }

    /// Does one step of a plan.
    pub(crate) fn perform(&mut self, step: &Step) -> Result<(), Stopped> {
        match step {
            Step::PutServices(services) => {
                let (keys, actions): (Vec<_>, Vec<_>) = services
                    .iter()
                    .map(|(key, action)| (service_bytes(*key), action.value()))
                    .unzip();
                self.services.put(&keys, &actions)
            }
            Step::RemoveServices(services) => {
                let keys: Vec<_> = services.iter().copied().map(service_bytes).collect();
                self.services.remove(&keys)
            }
            Step::PutSources(sources) => self.put_sources(sources),
            Step::RemoveSources(prefixes) => self.remove_sources(prefixes),
            Step::SetDefault(action) => self.set_default(*action),
            Step::Wait => {
                wait();
                Ok(())
            }
        }
    }

    /// What became of packets so far.
    pub(crate) fn outcomes(&self) -> Result<[(Outcome, u64); Outcome::ALL.len()], Failure> {
        let mut outcomes = Outcome::ALL.map(|outcome| (outcome, 0));
        for (outcome, packets) in &mut outcomes {
            let shares = self
                .outcomes
                .get(&(*outcome as u32), 0)
                .map_err(Failure::map(OUTCOMES_MAP))?;
            *packets = shares.iter().sum();
        }
        Ok(outcomes)
    }

    fn put_sources(&mut self, sources: &[(Prefix, Source)]) -> Result<(), Stopped> {
        let (v4, v6) = by_family(sources, |(prefix, _)| *prefix);
        let values = |sources: &[(Prefix, Source)]| -> Vec<SourceValue> {
            sources.iter().map(|(_, it)| source_value(*it)).collect()
        };
        let keys: Vec<_> = v4.iter().map(|(prefix, _)| key4(*prefix)).collect();
        self.sources4.put(&keys, &values(v4))?;
        let keys: Vec<_> = v6.iter().map(|(prefix, _)| key6(*prefix)).collect();
        let put = self.sources6.put(&keys, &values(v6));
        put.map_err(|stopped| stopped.after(v4.len()))
    }

    fn remove_sources(&mut self, prefixes: &[Prefix]) -> Result<(), Stopped> {
        let (v4, v6) = by_family(prefixes, |prefix| *prefix);
        let keys: Vec<_> = v4.iter().copied().map(key4).collect();
        self.sources4.remove(&keys)?;
        let keys: Vec<_> = v6.iter().copied().map(key6).collect();
        let removed = self.sources6.remove(&keys);
        removed.map_err(|stopped| stopped.after(v4.len()))
    }

    fn set_default(&mut self, action: Action) -> Result<(), Stopped> {
        let set = self.default.set(0, action.value(), 0);
        set.map_err(|error| Stopped {
            done: 0,
            failure: Failure::map(DEFAULT_MAP)(error),
        })
    }
}

impl Stopped {
    fn after(self, done: usize) -> Self {
        Self {
            done: self.done + done,
            ..self
        }
    }
}

/// A map that is changed many entries at a time.
struct Table<M> {
    name: &'static str,
    typed: M,
    /// The same map, for batches.
    descriptor: OwnedFd,
}

/// A map of entries that can be put and removed one by one.
trait Entries {
    type Key: Pod;
    type Value: Pod;
    fn put(&mut self, key: &Self::Key, value: &Self::Value) -> Result<(), MapError>;
    fn remove(&mut self, key: &Self::Key) -> Result<(), MapError>;
}

impl<M> Table<M>
where
    M: TryFrom<Map, Error = MapError> + Entries,
{
    fn of(name: &'static str, descriptor: OwnedFd) -> Result<Self, Failure> {
        let copy = descriptor.try_clone().map_err(Failure::map(name))?;
        let typed = MapData::from_fd(copy)
            .and_then(Map::from_map_data)
            .and_then(M::try_from)
            .map_err(Failure::map(name))?;
        Ok(Self {
            name,
            typed,
            descriptor,
        })
    }

    /// Puts all entries: in a batch, and if that fails anywhere, or if the kernel has no batches
    /// for such a map, one by one.
    fn put(&mut self, keys: &[M::Key], values: &[M::Value]) -> Result<(), Stopped> {
        if keys.is_empty() {
            return Ok(());
        }
        // SAFETY: `typed` is the same map, and aya compared its key and value sizes with these
        // types' when it was made.
        if unsafe { batch::put(self.descriptor.as_fd(), keys, values) }.is_ok() {
            return Ok(());
        }
        for (done, (key, value)) in keys.iter().zip(values).enumerate() {
            let put = self.typed.put(key, value);
            put.map_err(|error| self.stopped(done, error))?;
        }
        Ok(())
    }

    /// Removes all entries, likewise. One that isn't there is as good as removed.
    fn remove(&mut self, keys: &[M::Key]) -> Result<(), Stopped> {
        if keys.is_empty() {
            return Ok(());
        }
        // SAFETY: `typed` is the same map, and aya compared its key size with this type's when it
        // was made.
        if unsafe { batch::remove(self.descriptor.as_fd(), keys) }.is_ok() {
            return Ok(());
        }
        for (done, key) in keys.iter().enumerate() {
            match self.typed.remove(key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) if is_not_found(&error) => {}
                Err(error) => return Err(self.stopped(done, error)),
            }
        }
        Ok(())
    }

    fn stopped(&self, done: usize, error: MapError) -> Stopped {
        Stopped {
            done,
            failure: Failure::map(self.name)(error),
        }
    }
}

impl<K: Pod, V: Pod> Entries for LpmTrie<MapData, K, V> {
    type Key = Key<K>;
    type Value = V;

    fn put(&mut self, key: &Key<K>, value: &V) -> Result<(), MapError> {
        self.insert(key, value, 0)
    }

    fn remove(&mut self, key: &Key<K>) -> Result<(), MapError> {
        self.remove(key)
    }
}

impl<K: Pod, V: Pod> Entries for HashMap<MapData, K, V> {
    type Key = K;
    type Value = V;

    fn put(&mut self, key: &K, value: &V) -> Result<(), MapError> {
        self.insert(key, value, 0)
    }

    fn remove(&mut self, key: &K) -> Result<(), MapError> {
        self.remove(key)
    }
}

fn is_not_found(error: &MapError) -> bool {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::NotFound;
        }
        cause = error.source();
    }
    false
}

/// The IPv4 part of what is sorted by prefix, and the IPv6 part.
fn by_family<T>(sorted: &[T], prefix: impl Fn(&T) -> Prefix) -> (&[T], &[T]) {
    sorted.split_at(sorted.partition_point(|it| prefix(it).family() == Family::Ipv4))
}

fn key4(prefix: Prefix) -> Key<[u8; 4]> {
    Key::new(prefix.length().into(), prefix.ipv4_bytes())
}

fn key6(prefix: Prefix) -> Key<[u8; 16]> {
    Key::new(prefix.length().into(), prefix.bytes())
}

fn source_value(source: Source) -> SourceValue {
    let Source {
        id,
        prefix_length,
        action,
        has_services,
    } = source;
    [id, prefix_length, action, has_services]
}

fn service_bytes(service: Service) -> ServiceBytes {
    let mut bytes = ServiceBytes::default();
    bytes[..4].copy_from_slice(&service.source.to_ne_bytes());
    bytes[4..6].copy_from_slice(&service.port.to_ne_bytes());
    bytes[6..].copy_from_slice(&[service.protocol, service.any_port]);
    bytes
}

/// Until packets that are being judged now are through. Hosts with `nohz_full` refuse to say; on
/// those it's a time that no packet needs.
fn wait() {
    const LONG_ENOUGH: std::time::Duration = std::time::Duration::from_millis(50);
    if membarrier(MembarrierCommand::Global).is_err() {
        std::thread::sleep(LONG_ENOUGH);
    }
}
