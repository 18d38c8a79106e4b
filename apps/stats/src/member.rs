//! The member that counts, and its map.

use aya::maps::{MapData, PerCpuArray};
use libdispatch::{Chain, Client, Program, Registration, Verdict, VerdictMask};
use shell::Failure;
use stats_abi::{PROGRAM, PROTOCOLS_MAP, Protocol, Traffic};

use crate::args::Args;

/// The program, as `cargo xtask ebpf` built it.
static OBJECT: &[u8] = include_bytes!(env!("EBPF_OBJECT"));

/// The registered program. Dropping it unregisters it.
pub(crate) struct Counter {
    client: Client,
    registration: Registration,
    /// A [`Traffic`] for each CPU: packets, then bytes.
    protocols: PerCpuArray<MapData, [u64; 2]>,
}

const _: () = assert!(size_of::<Traffic>() == size_of::<[u64; 2]>());
const _: () = assert!(std::mem::offset_of!(Traffic, bytes) == size_of::<u64>());

impl Counter {
    /// Registers the program: it counts from now on.
    pub(crate) fn register(args: &Args) -> Result<Self, Failure> {
        let on_interface = || Failure::on(&args.interface);
        let mut client = Client::builder().name(PROGRAM);
        if let Some(socket) = &args.socket {
            client = client.socket(socket);
        }
        let client = client.connect().map_err(on_interface())?;
        let pass = VerdictMask::of(&[Verdict::Pass]);
        let program = Program::from_bytes(OBJECT)
            .program(PROGRAM)
            .name(PROGRAM)
            .priority(args.priority)
            .chain_call(pass)
            .allowed(pass);
        let registration = client
            .register(&args.interface, &program)
            .map_err(on_interface())?;
        let protocols = registration
            .aya_map(PROTOCOLS_MAP)
            .map_err(on_interface())?
            .try_into()
            .map_err(Failure::map(PROTOCOLS_MAP))?;
        Ok(Self {
            client,
            registration,
            protocols,
        })
    }

    /// What was counted so far, by protocol.
    pub(crate) fn traffic(&self) -> Result<[Traffic; Protocol::ALL.len()], Failure> {
        let mut traffic = [Traffic::default(); Protocol::ALL.len()];
        for (sum, protocol) in traffic.iter_mut().zip(Protocol::ALL) {
            let shares = self
                .protocols
                .get(&(protocol as u32), 0)
                .map_err(Failure::map(PROTOCOLS_MAP))?;
            for [packets, bytes] in shares.iter() {
                sum.packets += packets;
                sum.bytes += bytes;
            }
        }
        Ok(traffic)
    }

    /// The chain that the program is in; `None` while the daemon isn't there, which doesn't stop
    /// the chain.
    pub(crate) fn chain(&self) -> Result<Option<Chain>, Failure> {
        // The interface may have another name by now.
        let chains = match self.client.list(None) {
            Ok(chains) => chains,
            Err(error) if shell::means_unregistered(&error) => return Err(self.unregistered()),
            Err(error) if means_absent(&error) => return Ok(None),
            Err(error) => return Err(Failure::on(self.registration.interface())(error)),
        };
        let id = self.registration.id();
        chains
            .into_iter()
            .find(|chain| chain.members.iter().any(|member| member.id == id))
            .map(Some)
            .ok_or_else(|| self.unregistered())
    }

    /// Stops counting.
    pub(crate) fn unregister(self) -> Result<(), Failure> {
        let interface = self.registration.interface().to_owned();
        let unregistered = self.registration.unregister();
        unregistered.map_err(Failure::on(&interface))
    }

    fn unregistered(&self) -> Failure {
        Failure::Unregistered {
            interface: self.registration.interface().to_owned(),
            name: self.registration.name().to_owned(),
        }
    }
}

/// The daemon is being restarted; the library re-claims the member by itself.
fn means_absent(error: &libdispatch::Error) -> bool {
    use libdispatch::Error;
    matches!(
        error,
        Error::NotReachable { .. } | Error::Disconnected { .. } | Error::TimedOut { .. }
    )
}
