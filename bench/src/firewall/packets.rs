//! What a packet costs with few rules and with many: in our program by test runs, in nftables by
//! frames that arrive at its hook.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Instant;

use aya::maps::Map;
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use firewall::{Descriptors, Memory, Table as Rules};
use firewall_abi::Room;
use tests::Pair;

use super::program::{Spread, Then, pass};
use super::rules::{Prefix, file, prefixes, sources};
use super::{FEW, MANY, nft};
use crate::Result;
use crate::sample::Sample;
use crate::table::{Table, number};

const COUNTS: [usize; 3] = [FEW, 1000, MANY];
/// Sources that packets come from in turn, half of them denied. The first is what the figure is of.
const SOURCES: [usize; 3] = [4096, 1024, 65_536];
const ROUNDS: usize = 15;
const PACKETS: i32 = 300_000;

/// What was measured.
pub(super) struct Packets {
    /// Of a packet's cost with many rules to that with few, round by round.
    pub(super) ratios: Vec<f64>,
    pub(super) nft_ratio: f64,
    pub(super) table: Table,
}

/// Measures all.
pub(super) fn measure() -> Result<Packets> {
    let ours = ours()?;
    let theirs = theirs()?;
    let headings = ["", "10 rules", "1,000", "160,000", "160,000 / 10"];
    let mut table = Table::new("Nanoseconds for one packet, by number of rules", headings);
    for (sources, costs) in SOURCES.iter().zip(&ours) {
        row(&mut table, &format!("firewall, {sources} sources"), costs);
    }
    row(&mut table, "nftables, 4096 sources", &theirs);
    let [few, _, many] = &ours[0];
    let [nft_few, _, nft_many] = theirs.map(|costs| Sample::of(costs).median);
    Ok(Packets {
        ratios: many.iter().zip(few).map(|(many, few)| many / few).collect(),
        nft_ratio: nft_many / nft_few,
        table,
    })
}

fn row(table: &mut Table, name: &str, costs: &[Vec<f64>; 3]) {
    let medians = costs.clone().map(|costs| Sample::of(costs).median);
    let ratio = medians[2] / medians[0];
    let cells = [name.to_owned()].into_iter().chain(medians.map(number));
    table.row(cells.chain([number(ratio)]));
}

/// For each number of sources, for each number of rules, the cost in each round. What giving the
/// packet its source and calling a program costs is not in it.
fn ours() -> Result<Vec<[Vec<f64>; 3]>> {
    let sets = COUNTS.map(prefixes);
    let mut firewalls = Vec::new();
    for set in &sets {
        firewalls.push(Firewall::load(set)?);
    }
    let pass = pass()?;
    let mut costs = Vec::new();
    for count in SOURCES {
        let mut pairs = Vec::new();
        for (set, firewall) in sets.iter().zip(&mut firewalls) {
            let sources = sources(set, count);
            let judged = Spread::new(&sources, Then::Judge(firewall.program()?))?;
            let bare = Spread::new(&sources, Then::Judge(pass.as_fd()))?;
            pairs.push((judged, bare));
        }
        let mut of_rules = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            for ((judged, bare), costs) in pairs.iter().zip(&mut of_rules) {
                judged.cost(PACKETS / 10)?; // what the others left in the caches goes
                costs.push(judged.cost(PACKETS)? - bare.cost(PACKETS)?);
            }
        }
        costs.push(of_rules);
    }
    Ok(costs)
}

/// The same of nftables, over what a packet costs that is dropped there without a set.
fn theirs() -> Result<[Vec<f64>; 3]> {
    let pair = Pair::new();
    pair.near.gro();
    let mut costs = [const { Vec::new() }; 3];
    for (count, costs) in COUNTS.iter().zip(&mut costs) {
        let set = prefixes(*count);
        let spread = Spread::new(&sources(&set, SOURCES[0]), Then::Send(pair.far.index))?;
        let cost = |prefixes: &[Prefix]| -> Result<f64> {
            nft::load(&pair.near, prefixes)?;
            let packets = PACKETS;
            let took = pair.far.netns.run(|| {
                spread.send(packets / 10)?;
                let start = Instant::now();
                spread.send(packets)?;
                Ok::<_, std::io::Error>(start.elapsed())
            })?;
            Ok(took.as_secs_f64() * 1e9 / f64::from(packets))
        };
        for _ in 0..5 {
            let without = cost(&[])?;
            costs.push(cost(&set)? - without);
        }
    }
    nft::clear(&pair.near)?;
    Ok(costs)
}

/// The program with its rules.
struct Firewall {
    object: Ebpf,
    _rules: Rules,
}

impl Firewall {
    fn load(prefixes: &[Prefix]) -> Result<Self> {
        let entries = u32::try_from(2 * prefixes.len() + 2)?;
        let room = Room {
            entries: entries.max(Room::OBJECT.entries),
        };
        let mut object = EbpfLoader::new()
            .btf(None)
            .map_max_entries(firewall_abi::BUCKETS_MAP, 2 * room.half())
            .map_max_entries(firewall_abi::KEYS_MAP, room.entries)
            .map_max_entries(firewall_abi::HITS_MAP, room.hits())
            .load(aya::include_bytes_aligned!(env!("FIREWALL_OBJECT")))?;
        program(&mut object)?.load()?;
        let memory = Memory::map(
            Descriptors {
                config: descriptor(&object, firewall_abi::CONFIG_MAP)?,
                buckets: descriptor(&object, firewall_abi::BUCKETS_MAP)?,
                keys: descriptor(&object, firewall_abi::KEYS_MAP)?,
                lengths4: descriptor(&object, firewall_abi::LENGTHS4_MAP)?,
                lengths6: descriptor(&object, firewall_abi::LENGTHS6_MAP)?,
            },
            room,
        )?;
        let mut rules = Rules::new(memory, || {});
        let policy = firewall::parse(&file(prefixes));
        let policy = policy.map_err(|faults| format!("these are no rules: {faults:?}"))?;
        rules.adopt(&policy)?;
        Ok(Self {
            object,
            _rules: rules,
        })
    }

    fn program(&mut self) -> Result<BorrowedFd<'_>> {
        Ok(program(&mut self.object)?.fd()?.as_fd())
    }
}

fn program(object: &mut Ebpf) -> Result<&mut Xdp> {
    let program = object.program_mut(firewall_abi::PROGRAM);
    Ok(program.ok_or("the object has its program")?.try_into()?)
}

fn descriptor<'a>(object: &'a Ebpf, name: &str) -> Result<BorrowedFd<'a>> {
    match object.map(name) {
        Some(Map::Array(map)) => Ok(map.fd().as_fd()),
        _ => Err(format!("{name} is an array").into()),
    }
}
