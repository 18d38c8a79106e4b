//! One load that the controller asked for, carried out.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::{io, thread};

use controller::{Done, Event, LoadFailure, RequestId};
use planner::{Code, Facts, LoadOrder, Maps, MapsOf, Reload, Source};
use protocol::{RefusalCode, Refused};

use crate::bug;
use crate::control::{Message, Trouble};
use crate::desk::{Bringing, Brought, Desk};
use crate::kernel::{MemberMap, redirect_object};
use crate::loader::{Caller, LoadError, LoadSpec, Loader, Reuse};
use crate::object_store::ObjectStore;
use crate::published::Board;
use crate::translate;

/// A load while it is carried out.
struct Loading {
    id: RequestId,
    told: SyncSender<Message>,
    /// `None` if it panics.
    outcome: Option<Result<Facts, Failure>>,
}

impl Drop for Loading {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| {
            let message = "the daemon failed at loading a program; its log says more";
            Err(plain(translate::refused(RefusalCode::Daemon, message)))
        });
        let done = Event::Done(Done::Loaded {
            id: self.id,
            outcome: outcome.map(Box::new),
        });
        // The controller goes only with the daemon.
        let _ = self.told.send(Message::Event(done));
    }
}

/// What loads need.
#[derive(Clone, Debug)]
pub struct LoadJobs {
    /// Loads programs.
    pub loader: Loader,
    /// What requests brought.
    pub desk: Desk,
    /// What members were loaded from.
    pub objects: ObjectStore,
    /// Members' maps.
    pub board: Board,
}

type Failure = LoadFailure<Trouble>;

impl LoadJobs {
    /// Loads a program on a thread of its own. However that ends, the controller is told.
    pub fn start(
        &self,
        id: RequestId,
        order: LoadOrder,
        told: SyncSender<Message>,
    ) -> io::Result<()> {
        let jobs = self.clone();
        let thread = thread::Builder::new().name(format!("load-{}", order.load));
        thread.spawn(move || {
            bug::is_clients();
            let mut loading = Loading {
                id,
                told,
                outcome: None,
            };
            loading.outcome = Some(jobs.run(id, &order));
        })?;
        Ok(())
    }

    /// Loads a program and stages it for its request.
    fn run(&self, id: RequestId, order: &LoadOrder) -> Result<Facts, Failure> {
        let Some(brought) = self.desk.brought(id) else {
            let message = "the request was given up";
            return Err(plain(translate::refused(RefusalCode::Daemon, message)));
        };
        let bringing = self.bringing(&brought, &order.code)?;
        let wanted = LoadSpec {
            object: bringing.object,
            outline: order.outline.clone(),
            form: order.form,
            map_sizes: bringing.map_sizes,
            globals: bringing.globals,
            tail_calls: bringing.tail_calls,
            trusted: order.trusted,
            existing: self.existing(id, &order.maps),
        };
        let loaded = self.loader.load(caller(&brought, order.trusted), wanted);
        let ready = loaded.map_err(|error| explain(&brought.interface, &order.code, error))?;
        self.desk.stage(id, order.load, ready.staged);
        Ok(Facts {
            load: order.load,
            source: match &order.code {
                Code::BuiltIn(built_in) => Source::BuiltIn(*built_in),
                Code::Again(reload) => reload.source.clone(),
                Code::Fresh(_) => ready.facts.source,
            },
            replaces: order.replaces,
            ..ready.facts
        })
    }

    /// The object that the code is in, and how it is loaded.
    fn bringing(&self, brought: &Brought, code: &Code) -> Result<Bringing, Failure> {
        match code {
            Code::Fresh(index) => Ok(brought.loads[*index].clone()),
            Code::Again(reload) => self.kept(brought, reload),
            Code::BuiltIn(_) => self.built_in(brought, brought.queues),
        }
    }

    /// What a member was loaded from. Its maps stay, so sizes and variables are as they are.
    fn kept(&self, brought: &Brought, reload: &Reload) -> Result<Bringing, Failure> {
        let object = match &reload.source {
            Source::Object(object) => object,
            Source::BuiltIn(_) => return self.built_in(brought, None),
            Source::Loaded(_) => unreachable!("what has no object is never loaded again"),
        };
        let interface = &brought.interface;
        let bytes = self.objects.get(&object.sha256).map_err(|error| {
            let message = format!(
                "interface {interface}: the object of {} is not kept: {error}",
                reload.name
            );
            plain(again(
                translate::refused(RefusalCode::Daemon, message),
                reload,
            ))
        })?;
        let program = Some(reload.outline.program.clone());
        let by = caller(brought, reload.source.is_trusted());
        let inspected = self.loader.inspect(by, Arc::new(bytes), program, false);
        let (object_of, _) = inspected
            .map_err(|error| explain(interface, &Code::Again(Box::new(reload.clone())), error))?;
        Ok(Bringing {
            object: object_of,
            map_sizes: Vec::new(),
            globals: Vec::new(),
            tail_calls: object.tail_calls.clone(),
        })
    }

    /// A program of the daemon's own, for an interface with so many queues.
    fn built_in(&self, brought: &Brought, queues: Option<u32>) -> Result<Bringing, Failure> {
        use dispatcher_abi::{CLAIMS_MAP, REDIRECT_PROGRAM, REDIRECT_QUEUES, SOCKETS_MAP};
        let entries = queues.unwrap_or(REDIRECT_QUEUES).max(REDIRECT_QUEUES);
        let program = Some(REDIRECT_PROGRAM.to_owned());
        let inspected =
            self.loader
                .inspect(caller(brought, true), redirect_object(), program, false);
        let (object, _) =
            inspected.map_err(|error| plain(translate::load_error(&brought.interface, error)))?;
        Ok(Bringing {
            object,
            map_sizes: [SOCKETS_MAP, CLAIMS_MAP]
                .map(|map| (map.to_owned(), entries))
                .to_vec(),
            globals: Vec::new(),
            tail_calls: Vec::new(),
        })
    }

    fn existing(&self, id: RequestId, maps: &Maps) -> Reuse {
        let of_member = |member| -> Vec<MemberMap> {
            let published = self.board.read();
            published
                .maps
                .get(&member)
                .map(|maps| maps.to_vec())
                .unwrap_or_default()
        };
        match maps {
            Maps::Own(member, _) => Reuse::Own(of_member(*member)),
            Maps::Shared(programs) => {
                let staged = self.desk.staged(id);
                let maps = programs.iter().flat_map(|of| match of {
                    MapsOf::Member(member, _) => of_member(*member),
                    MapsOf::Load(load) => staged
                        .get(load)
                        .map(|staged| staged.maps.to_vec())
                        .unwrap_or_default(),
                });
                Reuse::Shared(maps.collect())
            }
        }
    }
}

/// The client as the loader knows it.
fn caller(brought: &Brought, trusted: bool) -> Caller<'_> {
    Caller {
        uid: brought.uid,
        trusted,
        connection: brought
            .connection
            .as_ref()
            .map(|connection| connection.as_fd()),
    }
}

fn explain(interface: &str, code: &Code, error: LoadError) -> Failure {
    let by_kernel = error.is_the_kernels();
    let refused = translate::load_error(interface, error);
    let refused = match code {
        Code::Again(reload) => again(refused, reload),
        Code::Fresh(_) | Code::BuiltIn(_) => refused,
    };
    LoadFailure {
        by_kernel,
        ..plain(refused)
    }
}

fn again(refused: Refused, reload: &Reload) -> Refused {
    Refused {
        message: format!(
            "{}; member {} has to be loaded again for this change",
            refused.message, reload.name
        ),
        ..refused
    }
}

fn plain(refused: Refused) -> Failure {
    LoadFailure {
        by_kernel: false,
        error: Trouble::Load(Arc::new(refused)),
    }
}
