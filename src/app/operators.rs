//! Who answers operators, and what of?

use std::{io, sync::Arc, thread, time::SystemTime};

use tokio::sync::{mpsc, watch};
use tracing::error;

use super::generation::Generation;
use crate::{
    admin::{Admin, Served, Settings},
    config::Config,
    edge::{ListenerAddress, socket::Opened},
    limits::Limits,
    proxy::streams::Query,
    telemetry::metrics::Metrics,
};

/// How many questions may wait for a worker that is busy.
pub(super) const QUERIES_MAX: usize = 32;

/// The thread of the admin listener, and what it answers from.
pub(super) struct Operators {
    /// Where the file wanted it at first.
    asked: Option<ListenerAddress>,
    opened: Option<Opened>,
    /// Operators are answered as long as it is there.
    served: Option<watch::Sender<Arc<Served>>>,
    is_announced: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What operators are told of a generation.
pub(super) fn served(generation: &Generation, config: &Config, now: SystemTime) -> Served {
    let admin = config.admin.as_ref();
    Served {
        generation: generation.table.number,
        loaded_at: now,
        file: config.file.clone(),
        config: config.shown.clone(),
        upstreams: generation.upstreams.clone(),
        token: admin.and_then(|admin| admin.token.clone()),
        has_taps: admin.is_some_and(|admin| admin.has_taps),
    }
}

impl Operators {
    pub(super) fn new(
        asked: Option<ListenerAddress>,
        opened: Option<Opened>,
        served: Served,
    ) -> Self {
        Self {
            asked,
            opened,
            served: Some(watch::Sender::new(Arc::new(served))),
            is_announced: watch::Sender::new(false),
            thread: None,
        }
    }

    /// Answers from here on, where the file asks for that.
    pub(super) fn start(
        &mut self,
        (metrics, limits): (&Arc<Metrics>, &Arc<Limits>),
        workers: Vec<mpsc::Sender<Query>>,
    ) -> io::Result<()> {
        let (Some(address), Some(opened), Some(served)) =
            (&self.asked, &mut self.opened, &self.served)
        else {
            return Ok(());
        };
        let sockets = opened.shares().into_iter().flatten().collect();
        let admin = Admin {
            address: address.clone(),
            metrics: Arc::clone(metrics),
            limits: Arc::clone(limits),
            workers,
            served: served.subscribe(),
            is_announced: self.is_announced.subscribe(),
        };
        let thread = thread::Builder::new().name("weir-admin".to_owned());
        self.thread = Some(thread.spawn(move || admin.run(sockets))?);
        Ok(())
    }

    /// Answers from what is at work now.
    pub(super) fn update(&self, served: Served) {
        if let Some(sender) = &self.served {
            sender.send_replace(Arc::new(served));
        }
    }

    /// Whether the admin listener is where these settings want it.
    pub(super) fn is_at(&self, settings: Option<&Settings>) -> bool {
        self.asked.as_ref() == settings.map(|settings| &settings.address)
    }

    /// Says that a drain will begin: nobody is to send anything new here, and what comes is served.
    pub(super) fn announce(&self) {
        self.is_announced.send_replace(true);
    }

    /// Leaves operators to the process that has taken over.
    pub(super) fn hand_over(&mut self) {
        self.served = None;
        self.opened = None;
    }

    /// The admin listener's sockets, where there are any.
    pub(super) fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// Says whether a unix socket's file stays when the admin listener goes.
    pub(super) fn keep_file(&mut self, is_kept: bool) {
        if let Some(opened) = &mut self.opened {
            opened.keep_file(is_kept);
        }
    }

    /// Ends with the process: until here operators have had their answers.
    pub(super) fn join(self) {
        drop(self.served);
        let joined = self.thread.map(thread::JoinHandle::join);
        if joined.is_some_and(|joined| joined.is_err()) {
            error!("The admin listener's thread panicked.");
        }
    }
}
