//! What becomes of a packet, and how often that happened.

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is sent.
    Send {
        /// As what.
        sent: Sent,
        /// So many of its bytes: never more than it had.
        length: usize,
    },
    /// It goes no further, and was left as it came.
    Drop(Reason),
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// An ARP reply.
    Arp,
    /// An IPv6 neighbour advertisement.
    Neighbour,
    /// An `ICMPv4` echo reply.
    Ping4,
    /// An `ICMPv6` echo reply.
    Ping6,
    /// A UDP datagram in IPv4, returned.
    Udp4,
    /// A UDP datagram in IPv6, returned.
    Udp6,
    /// Anything, forwarded.
    Forwarded,
}

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Cut short, or it says what no such packet can.
    Malformed,
    /// A checksum that has to be right before anything is answered is wrong.
    Checksum,
    /// For somebody else, or for everybody.
    NotOurs,
    /// From an address that no other single host has.
    Source,
    /// An answer, or it would be answered by an answer.
    Answer,
    /// A fragment.
    Fragment,
    /// It has a source route, or options that only those may answer who know them.
    Options,
    /// UDP to another port.
    Port,
    /// Nothing that is answered.
    Other,
    /// Everything is dropped.
    All,
    /// It was to be sent, and TX had no room.
    NoRoom,
}

impl Sent {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Arp,
        Self::Neighbour,
        Self::Ping4,
        Self::Ping6,
        Self::Udp4,
        Self::Udp6,
        Self::Forwarded,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Neighbour => "neighbour",
            Self::Ping4 => "ping4",
            Self::Ping6 => "ping6",
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
            Self::Forwarded => "forwarded",
        }
    }
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Checksum,
        Self::NotOurs,
        Self::Source,
        Self::Answer,
        Self::Fragment,
        Self::Options,
        Self::Port,
        Self::Other,
        Self::All,
        Self::NoRoom,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Checksum => "checksum",
            Self::NotOurs => "not-ours",
            Self::Source => "source",
            Self::Answer => "answer",
            Self::Fragment => "fragment",
            Self::Options => "options",
            Self::Port => "port",
            Self::Other => "other",
            Self::All => "all",
            Self::NoRoom => "no-room",
        }
    }
}

/// How many packets came, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    sent: [u64; Sent::ALL.len()],
    dropped: [u64; Reason::ALL.len()],
}

impl Counts {
    /// Counts a packet of so many bytes.
    #[inline]
    pub fn add(&mut self, bytes: usize, action: Action) {
        self.add_all(1, bytes, action);
    }

    /// Counts so many packets, of so many bytes together, that became the same.
    #[inline]
    pub fn add_all(&mut self, packets: usize, bytes: usize, action: Action) {
        let packets = packets as u64;
        self.packets += packets;
        self.bytes += bytes as u64;
        match action {
            Action::Send { sent, .. } => self.sent[sent as usize] += packets,
            Action::Drop(reason) => self.dropped[reason as usize] += packets,
        }
    }

    /// Counts what others counted, too.
    pub fn merge(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        for (sum, more) in self.sent.iter_mut().zip(other.sent) {
            *sum += more;
        }
        for (sum, more) in self.dropped.iter_mut().zip(other.dropped) {
            *sum += more;
        }
    }

    /// Packets that were sent as this.
    pub const fn sent(&self, sent: Sent) -> u64 {
        self.sent[sent as usize]
    }

    /// Packets that were dropped for this reason.
    pub const fn dropped(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_number_and_a_name_of_its_own() {
        for (number, sent) in Sent::ALL.into_iter().enumerate() {
            assert_eq!(sent as usize, number);
        }
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
        let sent = Sent::ALL.iter().map(|it| it.name());
        let reasons = Reason::ALL.iter().map(|it| it.name());
        let mut names: Vec<&str> = sent.chain(reasons).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Sent::ALL.len() + Reason::ALL.len());
    }

    #[test]
    fn what_two_counted_is_added_up() {
        let sent = Action::Send {
            sent: Sent::Ping4,
            length: 60,
        };
        let mut one = Counts::default();
        one.add(60, sent);
        let mut other = Counts::default();
        other.add(100, sent);
        other.add_all(2, 40, Action::Drop(Reason::Port));
        one.merge(&other);
        assert_eq!((one.packets, one.bytes), (4, 200));
        assert_eq!(one.sent(Sent::Ping4), 2);
        assert_eq!(one.dropped(Reason::Port), 2);
    }
}
