//! The threads that answer questions, each on a connection of its own. One answers what takes no
//! time, and holds the calls that wait for news: they are asked again after each commit. The other
//! answers what may have to look at every task; it is started by the first such question.

mod thread;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::completions::Ticket;
use super::replies::closed;
use super::situation::SharedSituation;
use super::supervisor::Supervisor;
use crate::model::{Fault, TaskKey};
use crate::store::sqlite::{EventFilter, Reader, TaskFilter};
use crate::sync;
use thread::{Message, ReaderThread};

/// A question.
#[derive(Debug)]
pub enum Query {
    /// The task with that key.
    Task(TaskKey),
    /// The newest task with that id.
    TaskById(String),
    /// The tasks that match.
    Tasks(TaskFilter),
    /// Every tag.
    Tags,
    /// How many tasks stand where.
    Counts,
    /// The number of the last event.
    LastEvent,
    /// The events after a number; with `follow`, as soon as there is one.
    Events {
        /// The number.
        after: u64,
        /// Which events.
        want: EventFilter,
        /// Whether to wait for the first.
        follow: bool,
    },
    /// The event that ends a task, as soon as there is one.
    TerminalEvent(TaskKey),
}

impl Query {
    /// Whether the answer may take seconds where there are millions of tasks.
    fn is_long(&self) -> bool {
        matches!(self, Self::Tasks(_) | Self::Tags | Self::Counts)
    }
}

/// The reading threads, from outside.
pub(super) struct Readers {
    path: PathBuf,
    situation: Arc<SharedSituation>,
    supervisor: Supervisor,
    prompt: ReaderHandle,
    // LOCKING: held for starting and sending, never while a question is answered.
    long: Mutex<Long>,
    /// Whether a call waits for news. Set before the question is asked, so that a commit either is
    /// seen by the question or sees the flag.
    waiting: Arc<AtomicBool>,
}

/// The thread for long questions.
enum Long {
    NotStarted,
    Started(ReaderHandle),
    Stopped,
}

/// A reading thread.
struct ReaderHandle {
    messages: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Readers {
    pub(super) fn start(
        path: &Path,
        situation: Arc<SharedSituation>,
        supervisor: Supervisor,
    ) -> Result<Self, Fault> {
        let waiting = Arc::new(AtomicBool::new(false));
        let reader = Reader::open(path)?;
        let thread = ReaderThread::new(reader, &situation, &supervisor.completions, &waiting);
        let prompt =
            ReaderHandle::start("outhaul-read", &supervisor, move |inbox| thread.run(&inbox))?;
        let (path, long) = (path.to_owned(), Mutex::new(Long::NotStarted));
        Ok(Self { path, situation, supervisor, prompt, long, waiting })
    }

    pub(super) fn ask(&self, ticket: Ticket, query: Query) {
        if !query.is_long() {
            return self.prompt.send(Message::Ask(ticket, query));
        }
        let mut long = sync::lock(&self.long);
        if matches!(*long, Long::NotStarted) {
            match self.start_long() {
                Ok(started) => *long = Long::Started(started),
                Err(fault) => return self.supervisor.completions.reply(ticket, Err(fault)),
            }
        }
        match &*long {
            Long::Started(started) => started.send(Message::Ask(ticket, query)),
            _ => self.supervisor.completions.reply(ticket, Err(closed())),
        }
    }

    /// The connection is opened by the thread, since that may wait for the disk.
    fn start_long(&self) -> Result<ReaderHandle, Fault> {
        let (path, situation) = (self.path.clone(), Arc::clone(&self.situation));
        let completions = self.supervisor.completions.clone();
        let run = move |inbox: Receiver<Message>| {
            while let Ok(first) = inbox.recv() {
                match (Reader::open(&path), first) {
                    (_, Message::Stop) => return,
                    (Ok(reader), first) => {
                        let nobody = Arc::default();
                        let thread = ReaderThread::new(reader, &situation, &completions, &nobody);
                        return thread.run_long(first, &inbox);
                    }
                    (Err(error), Message::Ask(ticket, _)) => {
                        completions.reply(ticket, Err(error.into()));
                    }
                    (Err(_), Message::Abandon(_) | Message::Committed(_)) => {}
                }
            }
        };
        ReaderHandle::start("outhaul-scan", &self.supervisor, run)
    }

    pub(super) fn abandon(&self, ticket: Ticket) {
        self.prompt.send(Message::Abandon(ticket));
        if let Long::Started(long) = &*sync::lock(&self.long) {
            long.send(Message::Abandon(ticket));
        }
    }

    /// Tells that something was committed, if anybody waits for it.
    pub(super) fn committed(&self, ended: Option<Vec<TaskKey>>) {
        if self.waiting.load(Ordering::SeqCst) {
            self.prompt.send(Message::Committed(ended));
        }
    }

    /// Ends the threads; what still waits is answered that the manager is closed.
    pub(super) fn stop(&self) {
        self.prompt.stop();
        let long = std::mem::replace(&mut *sync::lock(&self.long), Long::Stopped);
        if let Long::Started(long) = long {
            long.stop();
        }
    }
}

impl ReaderHandle {
    fn start(
        name: &'static str,
        supervisor: &Supervisor,
        run: impl FnOnce(Receiver<Message>) + Send + 'static,
    ) -> Result<Self, Fault> {
        let (messages, inbox) = channel();
        let thread = supervisor.spawn(name, move || run(inbox))?;
        Ok(Self { messages, thread: Mutex::new(Some(thread)) })
    }

    /// Fails only once the thread has ended, which it does after answering everything.
    fn send(&self, message: Message) {
        drop(self.messages.send(message));
    }

    fn stop(&self) {
        self.send(Message::Stop);
        let thread = sync::lock(&self.thread).take();
        if let Some(thread) = thread {
            // A panic has been printed by the thread itself, and its calls are answered at close.
            drop(thread.join());
        }
    }
}
