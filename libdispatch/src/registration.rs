//! A registered program: a guard.

use std::{os::fd::OwnedFd, time::Duration};

use dispatcher_abi::{Engine, Lifetime, Mode, SlotCounters};
use protocol::{MemberRef, Open, Operation};

use crate::{
    Change, Changed, Client, Error, MemberDetail, Note, Position, Program, RefusalCode, Settings,
    change::Registered, claim::ClaimNumber, patience::Patience,
};

/// How long dropping a registration waits for the daemon.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

/// A program on an interface. Dropping it unregisters the program, as well as that can be done
/// without saying whether it worked; [`unregister`](Self::unregister) says.
///
/// A [kept](Program::kept) program is not unregistered by the drop.
#[derive(Debug)]
#[must_use = "dropping a registration unregisters the program"]
pub struct Registration {
    client: Client,
    interface: String,
    member: Registered,
    mode: Option<Mode>,
    notes: Vec<Note>,
    /// `None` for a member that is not this client's to keep: then the drop has nothing to do.
    claim: Option<ClaimNumber>,
}

impl Registration {
    /// The guard for the only member that a change registered.
    pub(crate) fn first(
        client: Client,
        interface: &str,
        changed: Changed,
        claim: Option<ClaimNumber>,
    ) -> Result<Self, Error> {
        let Some(member) = changed.members.into_iter().next() else {
            return Err(nothing_registered());
        };
        Ok(Self {
            client,
            interface: interface.to_owned(),
            member,
            mode: changed.mode,
            notes: changed.notes,
            claim,
        })
    }

    /// Stops the program and forgets it. One that somebody else removed is gone already.
    ///
    /// # Errors
    ///
    /// The registration is gone in any case; if the daemon still has the member, it goes with the
    /// connection, after its linger time.
    pub fn unregister(mut self) -> Result<(), Error> {
        let held = self.check_held();
        // The drop has nothing to do, whatever becomes of this.
        if let Some(claim) = self.claim.take() {
            let session = self.client.session();
            session.with_claims(|claims| claims.release(claim));
        }
        held?;
        let unregister = Operation::Unregister {
            member: self.reference(),
        };
        match Change::of_member(&self.client).with(unregister).apply() {
            // Somebody else has done so.
            Err(Error::Refused(refusal)) if refusal.code == RefusalCode::NoSuchMember => Ok(()),
            done => done.map(drop),
        }
    }

    /// Gives the program to the daemon: it stays after this process, until somebody unregisters it
    /// or the machine reboots.
    ///
    /// # Errors
    ///
    /// The program is unregistered as by a drop.
    pub fn keep(mut self) -> Result<(), Error> {
        let settings = Settings {
            lifetime: Some(Lifetime::Kept),
            ..Settings::default()
        };
        self.set(settings)?;
        self.claim = None;
        Ok(())
    }

    /// Changes the running program's settings. Nothing is reloaded.
    pub fn set(&self, settings: Settings) -> Result<Changed, Error> {
        let (member, settings) = (self.reference(), settings.into());
        self.change()?
            .with(Operation::Set { member, settings })
            .apply()
    }

    /// Moves the program in its chain. Nothing is reloaded.
    pub fn move_to(&self, position: Position) -> Result<Changed, Error> {
        let (member, to) = (self.reference(), position.into());
        self.change()?.with(Operation::Move { member, to }).apply()
    }

    /// Puts new code into the same slot. Maps of the same name and shape keep their contents. Of
    /// the program, only what concerns its object counts: function, map sizes, globals, tail calls.
    pub fn replace(&mut self, program: &Program) -> Result<Changed, Error> {
        let changed = self
            .change()?
            .replace_member(self.reference(), program)
            .apply()?;
        let Some(member) = changed.members.first() else {
            return Err(nothing_registered());
        };
        self.member = member.clone();
        Ok(changed)
    }

    /// The packets that the program saw, by what became of them, since it was registered. They
    /// never go backwards.
    pub fn counters(&self) -> Result<SlotCounters, Error> {
        Ok(self.detail()?.member.packets)
    }

    /// Everything about the member, as it is now.
    pub fn detail(&self) -> Result<MemberDetail, Error> {
        self.check_held()?;
        self.client.show_member(None, self.reference())
    }

    /// A descriptor of one of the program's own maps, by its name in the object. It stays valid
    /// after the program is gone.
    ///
    /// # Minimum kernel version
    ///
    /// A process without `CAP_BPF` can use the descriptor from kernel 5.19 on.
    pub fn map(&self, map: &str) -> Result<OwnedFd, Error> {
        self.check_held()?;
        self.client.map_of(self.member.id, map)
    }

    /// The same as a typed map of aya.
    ///
    /// ```no_run
    /// # fn example(registration: &libdispatch::Registration) -> Result<(), Box<dyn std::error::Error>> {
    /// use aya::maps::PerCpuArray;
    /// let packets: PerCpuArray<_, u64> = registration.aya_map("PACKETS")?.try_into()?;
    /// let total: u64 = packets.get(&0, 0)?.iter().sum();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Minimum kernel version
    ///
    /// As for [`map`](Self::map).
    #[cfg(feature = "aya")]
    pub fn aya_map(&self, map: &str) -> Result<aya::maps::Map, Error> {
        use aya::maps::{Map, MapData};
        let descriptor = self.map(map)?;
        MapData::from_fd(descriptor)
            .and_then(Map::from_map_data)
            .map_err(|error| Error::Map {
                map: map.to_owned(),
                source: Box::new(error),
            })
    }

    /// The interface, as it was called when the program was registered.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The member's name.
    pub fn name(&self) -> &str {
        &self.member.name
    }

    /// The member's id, unique in the daemon.
    pub fn id(&self) -> u64 {
        self.member.id
    }

    /// The kernel's id of the program, when it was registered or replaced.
    pub fn program_id(&self) -> Option<u32> {
        self.member.program_id
    }

    /// Its slot, when it was registered or replaced; [`detail`](Self::detail) says where it is now.
    pub fn slot(&self) -> u16 {
        self.member.slot
    }

    /// The engine that runs it.
    pub fn engine(&self) -> Engine {
        self.member.engine
    }

    /// Where the hook was when it was registered.
    pub fn mode(&self) -> Option<Mode> {
        self.mode
    }

    /// What the daemon said to the registration, such as why the mode is generic.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn change(&self) -> Result<Change<'_>, Error> {
        self.check_held()?;
        Ok(Change::of_member(&self.client))
    }

    /// The member for the daemon. Its name may be another's by now, and its interface may have
    /// another name.
    fn reference(&self) -> Open<MemberRef> {
        MemberRef::Id(self.member.id).into()
    }

    fn check_held(&self) -> Result<(), Error> {
        let Some(claim) = self.claim else {
            return Ok(());
        };
        let name = || self.member.name.clone();
        self.client
            .session()
            .check_held(claim, &self.interface, name)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let session = self.client.session();
        // Removed or lost in the meantime: then there is nothing to be said.
        let is_ours = |claim| session.with_claims(|claims| claims.release(claim));
        if !self.claim.is_some_and(is_ours) {
            return;
        }
        let change = protocol::Change {
            operations: vec![Operation::Unregister {
                member: self.reference(),
            }],
            ..protocol::Change::default()
        };
        let body = protocol::RequestBody::Change(change);
        let patience = Patience::for_all(DROP_TIMEOUT);
        // A member that can't be unregistered now goes with the connection.
        let _ = session.ask(&body, &[], &patience, |answer| match answer {
            (protocol::ReplyBody::Changed(_), _) => Ok(()),
            (other, _) => Err(other.into()),
        });
    }
}

fn nothing_registered() -> Error {
    Error::Unexpected {
        request: "a change",
        answer: "no member was registered".to_owned(),
    }
}
