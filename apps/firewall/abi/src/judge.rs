//! Which rule decides: the longest prefix with something to say, then its narrowest service.
//!
//! The program runs this on the maps, and tests run it on the same memory.

use crate::{
    Bucket, Config, ENTRIES_PER_BUCKET, Entry, Family, Header, Key, LENGTHS4_LINES, LENGTHS6_SLOTS,
    Lengths4, Lengths6, Place, REACH, Service, StoredKey, Word, bit4, lengths4_slot, lengths6_slot,
    near4,
};

/// The maps. `None` is for indexes that no map has.
pub trait Tables {
    /// The element of the config's map.
    fn config(&self) -> Option<&Config>;
    /// An element of the buckets' map.
    fn bucket(&self, index: u32) -> Option<&Bucket>;
    /// An element of the keys' map.
    fn key(&self, id: u32) -> Option<&StoredKey>;
    /// An element of the IPv4 lengths' map.
    fn lengths4(&self, index: u32) -> Option<&Lengths4>;
    /// An element of the IPv6 lengths' map.
    fn lengths6(&self, index: u32) -> Option<&Lengths6>;

    /// [`find`], which the verifier had better see once only.
    #[inline(always)]
    fn find(&self, bucket: u32, tag: u64, key: Key) -> Entry {
        find(self, bucket, tag, key)
    }

    /// [`ask4`], likewise.
    #[inline(always)]
    fn ask4(&self, address: u32, question: Question, asked: Asked) -> Entry {
        ask4(self, address, question, asked)
    }

    /// [`ask6`], likewise.
    #[inline(always)]
    fn ask6(&self, high: u64, low: u64, question: Question, asked: Asked) -> Entry {
        ask6(self, high, low, question, asked)
    }
}

/// A prefix length that there are rules for: which, of which kinds, and in which half. One word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question(u32);

impl Question {
    /// As a word.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// From a word.
    #[inline(always)]
    pub const fn of(word: u32) -> Self {
        Self(word)
    }

    #[inline(always)]
    const fn length(self) -> u8 {
        self.0 as u8
    }

    #[inline(always)]
    const fn half(self) -> usize {
        (self.0 >> 8 & 1) as usize
    }

    #[inline(always)]
    const fn is_of_ports(self) -> bool {
        self.0 & 1 << 16 != 0
    }

    #[inline(always)]
    const fn is_of_protocols(self) -> bool {
        self.0 & 1 << 17 != 0
    }

    #[inline(always)]
    const fn is_of_everything(self) -> bool {
        self.0 & 1 << 18 != 0
    }
}

/// What is asked of a packet besides its source, in one word: port, protocol, and what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked(u32);

impl Asked {
    /// A packet to a port.
    #[inline(always)]
    pub const fn port(protocol: u8, port: u16) -> Self {
        Self(1 << 24 | (protocol as u32) << 16 | port as u32)
    }

    /// A packet without ports.
    #[inline(always)]
    pub const fn protocol(protocol: u8) -> Self {
        Self((protocol as u32) << 16)
    }

    /// A packet of which this can't be known.
    pub const UNREADABLE: Self = Self(1 << 25);

    /// As a word.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// From a word.
    #[inline(always)]
    pub const fn of(word: u32) -> Self {
        Self(word)
    }

    #[inline(always)]
    const fn has_port(self) -> bool {
        self.0 & 1 << 24 != 0
    }

    #[inline(always)]
    const fn is_unreadable(self) -> bool {
        self.0 & 1 << 25 != 0
    }

    #[inline(always)]
    const fn by_port(self) -> Service {
        Service::Port {
            protocol: (self.0 >> 16) as u8,
            port: self.0 as u16,
        }
    }

    #[inline(always)]
    const fn by_protocol(self) -> Service {
        Service::Protocol((self.0 >> 16) as u8)
    }
}

/// The lengths that there are rules for, one bit each, for a packet.
struct Lengths {
    everything: u64,
    protocols: u64,
    ports: u64,
}

/// The header of the half that is in force, and which one that is. It is asked for once a packet.
#[inline(always)]
fn active<T: Tables + ?Sized>(tables: &T) -> Option<(&Header, u32)> {
    let config = tables.config()?;
    let half = config.active.get() & 1;
    Some((&config.headers[half as usize], half as u32))
}

/// The entry that decides about a packet whose source can't be read.
#[inline(always)]
pub fn judge_unreadable<T: Tables + ?Sized>(tables: &T) -> Entry {
    match active(tables) {
        Some((header, _)) => Entry::of(header.unreadable_source.get()),
        None => Entry::NONE,
    }
}

/// The entry that decides about an IPv4 packet.
#[inline(always)]
pub fn judge4<T: Tables + ?Sized>(tables: &T, address: u32, asked: Asked) -> Entry {
    let Some((header, half)) = active(tables) else {
        return Entry::NONE;
    };
    let unreadable = unreadable(header, asked);
    if unreadable.is_present() {
        return unreadable;
    }
    let (line, word) = lengths4_slot(address);
    let local = match tables.lengths4(half * LENGTHS4_LINES + line) {
        Some(line) => line.0[word].get(),
        None => 0,
    };
    let mut wanted = 1 << bit4(16);
    if local >> near4(address) & 1 != 0 {
        wanted = (2 << bit4(16)) - 1;
    }
    let local = local & wanted;
    let lengths = Lengths::of(
        asked,
        header.short4.get() | local,
        &header.protocols4,
        &header.ports4,
    );
    let found =
        lengths.longest_first::<33>(32, half, |question| tables.ask4(address, question, asked));
    or_default(header, found)
}

/// The entry of the IPv4 rules of one length that decides, if one does.
#[inline(always)]
pub fn ask4<T: Tables + ?Sized>(
    tables: &T,
    address: u32,
    question: Question,
    asked: Asked,
) -> Entry {
    let Some(config) = tables.config() else {
        return Entry::NONE;
    };
    let header = &config.headers[question.half()];
    let length = question.length();
    let address = address & (u64::MAX << ((32 - u32::from(length)) & 63)) as u32;
    let key = |service| Key::new(Family::Ipv4, u64::from(address) << 32, 0, length, service);
    let found = services(tables, header, question, asked, key);
    if found.is_present() || !question.is_of_everything() {
        return found;
    }
    let place = Place::plain(address, length, header.seed.get());
    find_plain(tables, first_bucket(header, place), place.tag)
}

/// The entry that decides about an IPv6 packet, from the address's halves.
#[inline(always)]
pub fn judge6<T: Tables + ?Sized>(tables: &T, high: u64, low: u64, asked: Asked) -> Entry {
    let Some((header, half)) = active(tables) else {
        return Entry::NONE;
    };
    let unreadable = unreadable(header, asked);
    if unreadable.is_present() {
        return unreadable;
    }
    let (mut longest, mut long) = (0, 0);
    if let Some(local) = tables.lengths6(half * LENGTHS6_SLOTS + lengths6_slot(high)) {
        longest = local.0[0].get();
        long = local.0[1].get();
    }
    let source = [high, low];
    let mut found = judge6_word::<0, T>(tables, header, half, source, asked, longest);
    if !found.is_present() {
        found = judge6_word::<1, T>(tables, header, half, source, asked, long);
    }
    if !found.is_present() {
        found = judge6_word::<2, T>(tables, header, half, source, asked, 0);
    }
    or_default(header, found)
}

/// The lengths of one word, as [`bit6`](crate::bit6) spreads them.
#[inline(always)]
fn judge6_word<const WORD: usize, T: Tables + ?Sized>(
    tables: &T,
    header: &Header,
    half: u32,
    [high, low]: [u64; 2],
    asked: Asked,
    local: u64,
) -> Entry {
    let lengths = Lengths::of(
        asked,
        header.short6[WORD].get() | local,
        &header.protocols6[WORD],
        &header.ports6[WORD],
    );
    let longest = 128 - 64 * WORD as u32;
    lengths.longest_first::<64>(longest, half, |question| {
        tables.ask6(high, low, question, asked)
    })
}

/// The entry of the IPv6 rules of one length that decides, if one does.
#[inline(always)]
pub fn ask6<T: Tables + ?Sized>(
    tables: &T,
    high: u64,
    low: u64,
    question: Question,
    asked: Asked,
) -> Entry {
    let Some(config) = tables.config() else {
        return Entry::NONE;
    };
    let header = &config.headers[question.half()];
    let length = question.length();
    // A word has 63 bits left at most; a shift by 64 would be one by 0.
    let mask = u64::MAX << ((128 - u32::from(length)) & 63);
    let (high, low) = match length {
        0 => (0, 0),
        1..=64 => (high & mask, 0),
        _ => (high, low & mask),
    };
    let key = |service| Key::new(Family::Ipv6, high, low, length, service);
    let found = services(tables, header, question, asked, key);
    if found.is_present() || !question.is_of_everything() {
        return found;
    }
    look(tables, header, key(Service::Everything))
}

impl Lengths {
    #[inline(always)]
    fn of(asked: Asked, everything: u64, protocols: &Word, ports: &Word) -> Self {
        // What can't be read is nothing that rules of a service are about.
        let (mut of_protocols, mut of_ports) = (0, 0);
        if !asked.is_unreadable() {
            of_protocols = protocols.get();
        }
        if asked.has_port() {
            of_ports = ports.get();
        }
        Self {
            everything,
            protocols: of_protocols,
            ports: of_ports,
        }
    }

    /// Asks for each length that there is, until there is an answer. The lowest bit is the longest
    /// length's, and no packet asks more often than `BITS` times.
    ///
    /// The rounds stand one after another, by doubling. A verifier that keeps its loader from reading
    /// the kernel's memory also follows what a processor may speculate about, and with a counter that it
    /// takes for any number it goes round a loop without an end.
    #[inline(always)]
    fn longest_first<const BITS: usize>(
        &self,
        longest: u32,
        half: u32,
        ask: impl Fn(Question) -> Entry,
    ) -> Entry {
        let mut left = self.everything | self.protocols | self.ports;
        let mut round = || {
            if left == 0 {
                return Some(Entry::NONE);
            }
            let bit = left.trailing_zeros();
            left &= left - 1;
            let kinds = self.ports >> bit & 1
                | (self.protocols >> bit & 1) << 1
                | (self.everything >> bit & 1) << 2;
            let found = ask(Question((longest - bit) | half << 8 | (kinds as u32) << 16));
            found.is_present().then_some(found)
        };
        let found = match BITS {
            33 => rounds_32(&mut round).or_else(round),
            _ => match rounds_32(&mut round) {
                None => rounds_32(&mut round),
                found => found,
            },
        };
        found.unwrap_or(Entry::NONE)
    }
}

/// Two times what another one does.
macro_rules! twice {
    ($name:ident, $half:ident) => {
        #[inline(always)]
        fn $name(round: &mut impl FnMut() -> Option<Entry>) -> Option<Entry> {
            match $half(round) {
                None => $half(round),
                found => found,
            }
        }
    };
}

#[inline(always)]
fn rounds_1(round: &mut impl FnMut() -> Option<Entry>) -> Option<Entry> {
    round()
}

twice!(rounds_2, rounds_1);
twice!(rounds_4, rounds_2);
twice!(rounds_8, rounds_4);
twice!(rounds_16, rounds_8);
twice!(rounds_32, rounds_16);

#[inline(always)]
fn unreadable(header: &Header, asked: Asked) -> Entry {
    if asked.is_unreadable() {
        Entry::of(header.unreadable_service.get())
    } else {
        Entry::NONE
    }
}

#[inline(always)]
fn or_default(header: &Header, found: Entry) -> Entry {
    if found.is_present() {
        found
    } else {
        Entry::of(header.default.get())
    }
}

/// A prefix's rules for a port, then those for a protocol.
#[inline(always)]
fn services<T: Tables + ?Sized>(
    tables: &T,
    header: &Header,
    question: Question,
    asked: Asked,
    key: impl Fn(Service) -> Key,
) -> Entry {
    if question.is_of_ports() {
        let found = look(tables, header, key(asked.by_port()));
        if found.is_present() {
            return found;
        }
    }
    if question.is_of_protocols() {
        return look(tables, header, key(asked.by_protocol()));
    }
    Entry::NONE
}

#[inline(always)]
fn look<T: Tables + ?Sized>(tables: &T, header: &Header, key: Key) -> Entry {
    let place = key.place(header.seed.get());
    tables.find(first_bucket(header, place), place.tag, key)
}

#[inline(always)]
fn first_bucket(header: &Header, place: Place) -> u32 {
    header.first_bucket.get() as u32 + place.bucket(header.buckets.get())
}

/// The entry of a key, looked for from this bucket on.
#[inline(always)]
pub fn find<T: Tables + ?Sized>(tables: &T, bucket: u32, tag: u64, key: Key) -> Entry {
    search(tables, bucket, |entry| {
        entry.tag() == tag
            && match tables.key(entry.id()) {
                Some(stored) => entry.is_present() && stored.get() == key,
                None => false,
            }
    })
}

/// The entry of an IPv4 rule for everything, of which the tag is the key.
#[inline(always)]
fn find_plain<T: Tables + ?Sized>(tables: &T, bucket: u32, tag: u64) -> Entry {
    search(tables, bucket, |entry| {
        entry.tag() == tag && entry.is_present()
    })
}

#[inline(always)]
fn search<T: Tables + ?Sized>(tables: &T, bucket: u32, is_it: impl Fn(Entry) -> bool) -> Entry {
    const { assert!(REACH == 4, "as many steps as stand below") };
    // One after another, as the rounds of `longest_first` are.
    let Some(first) = tables.bucket(bucket) else {
        return Entry::NONE;
    };
    let reach = first.reach();
    let mut found = look_into(first, &is_it);
    if found.is_none() && reach > 0 {
        found = look_behind(tables, bucket + 1, &is_it);
    }
    if found.is_none() && reach > 1 {
        found = look_behind(tables, bucket + 2, &is_it);
    }
    if found.is_none() && reach > 2 {
        found = look_behind(tables, bucket + 3, &is_it);
    }
    found.unwrap_or(Entry::NONE)
}

#[inline(always)]
fn look_behind<T: Tables + ?Sized>(
    tables: &T,
    bucket: u32,
    is_it: &impl Fn(Entry) -> bool,
) -> Option<Entry> {
    look_into(tables.bucket(bucket)?, is_it)
}

#[inline(always)]
fn look_into(bucket: &Bucket, is_it: &impl Fn(Entry) -> bool) -> Option<Entry> {
    for index in 0..ENTRIES_PER_BUCKET {
        let entry = bucket.entry(index);
        if is_it(entry) {
            return Some(entry);
        }
    }
    None
}
