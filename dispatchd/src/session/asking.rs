//! Asking the controller, and waiting for its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;

use controller::{Answer, Asking, Request, RequestId};
use planner::Interface;
use protocol::Refused;

use super::site::Site;
use super::{Session, stopping};
use crate::control::{Message, Trouble};
use crate::desk::Brought;
use crate::translate;

impl Session<'_> {
    /// What a request at an interface brings, if nothing else is said.
    pub(super) fn brings(&self, site: &Site) -> Brought {
        Brought {
            namespace: Some(Arc::clone(&site.namespace)),
            ..self.brings_nothing(&site.interface)
        }
    }

    /// The same where no namespace came.
    pub(super) fn brings_nothing(&self, interface: &Interface) -> Brought {
        Brought {
            uid: self.client.uid,
            connection: None,
            interface: interface.name.clone(),
            queues: None,
            namespace: None,
            loads: Vec::new(),
            socket: None,
        }
    }

    /// Asks for something at an interface, and waits for the answer: the one that this request has
    /// when it is granted.
    pub(super) fn ask(
        &self,
        site: &Site,
        request: Request,
        brought: Brought,
    ) -> Result<Answer<Trouble>, Refused> {
        self.submit(&site.interface, request, brought)
    }

    /// The same, where no namespace is needed and nothing comes with it.
    pub(super) fn ask_at(
        &self,
        interface: &Interface,
        request: Request,
    ) -> Result<Answer<Trouble>, Refused> {
        self.submit(interface, request, self.brings_nothing(interface))
    }

    /// The same, whatever came with it.
    pub(super) fn submit(
        &self,
        interface: &Interface,
        request: Request,
        brought: Brought,
    ) -> Result<Answer<Trouble>, Refused> {
        let id = RequestId(self.hub.requests.fetch_add(1, Ordering::Relaxed));
        self.hub.desk.put(id, brought);
        let asking = Box::new(Asking {
            id,
            client: self.client.clone(),
            site: interface.clone(),
            request,
        });
        let (reply, answer) = sync_channel(1);
        let told = self.hub.told.send(Message::Asked { asking, reply });
        let answer = told.ok().and_then(|()| answer.recv().ok());
        // The controller has done so, unless it is gone.
        self.hub.desk.clear(id);
        let answer = answer.ok_or_else(stopping)?;
        match translate::denial(&interface.name, &answer, &self.hub.pins) {
            Some(refused) => Err(refused),
            None => Ok(answer),
        }
    }

    /// The same, where nothing comes with it.
    pub(super) fn ask_plainly(
        &self,
        site: &Site,
        request: Request,
    ) -> Result<Answer<Trouble>, Refused> {
        self.ask(site, request, self.brings(site))
    }
}
