//! One half of the table, written.

use firewall_abi::{
    Action, Bucket, ENTRIES_PER_BUCKET, Entry, Family, Half, Header, Key, LENGTHS4_LINES,
    LENGTHS6_SLOTS, REACH, Service, UNREADABLE_ID, Word, bit4, bit6, lengths4_slot, lengths6_slot,
    near4,
};

use crate::memory::Memory;
use crate::rules::Prefix;

/// A half, of which this process is the only writer.
pub(crate) struct Writer<'a> {
    memory: &'a Memory,
    half: Half,
}

/// There is no place for an entry where it would be looked for.
#[derive(Debug)]
pub(crate) struct Crowded;

impl<'a> Writer<'a> {
    pub(crate) fn of(memory: &'a Memory, half: Half) -> Self {
        Self { memory, half }
    }

    /// Empties it. To be done while no packet looks at it.
    pub(crate) fn clear(&self, buckets: u32, seed: u64) {
        let header = self.header();
        header.first_bucket.set(self.first_bucket());
        header.buckets.set(buckets.into());
        header.seed.set(seed);
        let masks = [&header.short4, &header.protocols4, &header.ports4];
        let masks = masks.into_iter().chain(&header.short6);
        for word in masks.chain(&header.protocols6).chain(&header.ports6) {
            word.set(0);
        }
        let first = index(self.first_bucket());
        for bucket in &self.memory.buckets[first..first + index((buckets + REACH - 1).into())] {
            for place in 0..ENTRIES_PER_BUCKET {
                bucket.put(place, Entry::NONE);
            }
            bucket.set_reach(0);
        }
        for line in part(&self.memory.lengths4, LENGTHS4_LINES, self.half) {
            line.0.iter().for_each(|word| word.set(0));
        }
        for lengths in part(&self.memory.lengths6, LENGTHS6_SLOTS, self.half) {
            lengths.0.iter().for_each(|word| word.set(0));
        }
    }

    /// Says what becomes of packets that no rule is about, and of those that can't be read: with
    /// rules at all, and with rules for protocols or ports.
    pub(crate) fn set_fallbacks(&self, default: Action, rules: bool, services: bool) {
        let header = self.header();
        header
            .default
            .set(Entry::new(0, firewall_abi::DEFAULT_ID, default).word());
        let deny = Entry::new(0, UNREADABLE_ID, Action::Deny);
        let otherwise = Entry::new(0, UNREADABLE_ID, default);
        let source = if rules { deny } else { otherwise };
        header.unreadable_source.set(source.word());
        let service = if services { deny } else { Entry::NONE };
        header.unreadable_service.set(service.word());
    }

    /// Puts an entry for a key that has none. Packets see it when this returns, or sooner.
    pub(crate) fn insert(
        &self,
        prefix: Prefix,
        service: Service,
        id: u32,
        action: Action,
    ) -> Result<(), Crowded> {
        let key = prefix.key(service);
        let place = key.place(self.header().seed.get());
        let home = self.home(&key);
        let (step, (bucket, free)) = (0_u32..)
            .zip(home)
            .find_map(|(step, bucket)| Some((step, (bucket, free(bucket)?))))
            .ok_or(Crowded)?;
        self.announce(prefix, service);
        bucket.put(free, Entry::new(place.tag, id, action));
        if home[0].reach() < step {
            home[0].set_reach(step);
        }
        Ok(())
    }

    /// Puts an entry in the place of the one with this id. Packets see the one or the other.
    pub(crate) fn replace(
        &self,
        prefix: Prefix,
        service: Service,
        id: u32,
        with: Option<(u32, Action)>,
    ) {
        let key = prefix.key(service);
        let place = key.place(self.header().seed.get());
        for bucket in self.home(&key) {
            for at in 0..ENTRIES_PER_BUCKET {
                let entry = bucket.entry(at);
                if entry.is_present() && entry.tag() == place.tag && entry.id() == id {
                    let with = with.map(|(id, action)| Entry::new(place.tag, id, action));
                    bucket.put(at, with.unwrap_or(Entry::NONE));
                    return;
                }
            }
        }
    }

    /// Lets packets look for rules of this kind. That they look for some that are gone is no harm.
    fn announce(&self, prefix: Prefix, service: Service) {
        let header = self.header();
        let (high, _) = prefix.halves();
        let length = prefix.length();
        match (prefix.family(), service) {
            (Family::Ipv4, Service::Everything) if length >= 16 => {
                let (line, word) = lengths4_slot(prefix.ipv4_bits());
                let line = &part(&self.memory.lengths4, LENGTHS4_LINES, self.half)[line as usize];
                let mut bits = 1 << bit4(length);
                if length > 16 {
                    let last =
                        prefix.ipv4_bits() | u32::MAX.checked_shr(length.into()).unwrap_or(0);
                    let parts = near4(prefix.ipv4_bits())..=near4(last);
                    bits |= parts.fold(0, |bits, part| bits | 1 << part);
                }
                line.0[word].add(bits);
            }
            (Family::Ipv6, Service::Everything) if length >= 32 => {
                let slot = lengths6_slot(high) as usize;
                let (word, bit) = bit6(length);
                part(&self.memory.lengths6, LENGTHS6_SLOTS, self.half)[slot].0[word].add(1 << bit);
            }
            (Family::Ipv4, service) => {
                let word: &Word = match service {
                    Service::Everything => &header.short4,
                    Service::Protocol(_) => &header.protocols4,
                    Service::Port { .. } => &header.ports4,
                };
                word.add(1 << bit4(length));
            }
            (Family::Ipv6, service) => {
                let words = match service {
                    Service::Everything => &header.short6,
                    Service::Protocol(_) => &header.protocols6,
                    Service::Port { .. } => &header.ports6,
                };
                let (word, bit) = bit6(length);
                words[word].add(1 << bit);
            }
        }
    }

    /// The buckets that a key's entry may be in.
    fn home(&self, key: &Key) -> &'a [Bucket] {
        let header = self.header();
        let place = key.place(header.seed.get());
        let first = self.first_bucket() + u64::from(place.bucket(header.buckets.get()));
        &self.memory.buckets[index(first)..][..REACH as usize]
    }

    fn first_bucket(&self) -> u64 {
        match self.half {
            Half::First => 0,
            Half::Second => self.memory.room.half().into(),
        }
    }

    fn header(&self) -> &'a Header {
        &self.memory.config[0].headers[self.half.index()]
    }
}

fn free(bucket: &Bucket) -> Option<usize> {
    (0..ENTRIES_PER_BUCKET).find(|at| !bucket.entry(*at).is_present())
}

/// A half of a map's elements.
fn part<T>(elements: &[T], of_half: u32, half: Half) -> &[T] {
    &elements[half.index() * of_half as usize..][..of_half as usize]
}

/// Indexes are as large as a map at most, and those are in memory.
#[expect(
    clippy::cast_possible_truncation,
    reason = "below the number of elements in memory"
)]
const fn index(number: u64) -> usize {
    number as usize
}
