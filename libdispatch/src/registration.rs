//! A registered program: a guard.

use std::{os::fd::OwnedFd, time::Duration};

use dispatcher_abi::{Engine, Lifetime, Mode, SlotCounters};

use crate::{
    Change, Changed, Client, Error, MemberDetail, Note, Position, Program, Settings,
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

    /// Stops the program and forgets it.
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
        let change = self.client.change(&self.interface);
        change.unregister(self.name()).apply()?;
        Ok(())
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
        self.change()?.set(self.name(), settings).apply()
    }

    /// Moves the program in its chain. Nothing is reloaded.
    pub fn move_to(&self, position: Position) -> Result<Changed, Error> {
        self.change()?.reorder(self.name(), position).apply()
    }

    /// Puts new code into the same slot. Maps of the same name and shape keep their contents. Of
    /// the program, only what concerns its object counts: function, map sizes, globals, tail calls.
    pub fn replace(&mut self, program: &Program) -> Result<Changed, Error> {
        let changed = self.change()?.replace(self.name(), program).apply()?;
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
        self.client.show(&self.interface, &self.member.name)
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

    /// The interface.
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
        Ok(self.client.change(&self.interface))
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
        // Removed or lost in the meantime: the name may be another member's.
        let is_ours = |claim| session.with_claims(|claims| claims.release(claim));
        if !self.claim.is_some_and(is_ours) {
            return;
        }
        let change = protocol::Change {
            interface: self.interface.clone(),
            operations: vec![protocol::Operation::Unregister {
                name: self.member.name.clone(),
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
