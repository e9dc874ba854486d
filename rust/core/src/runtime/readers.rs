//! The thread that answers questions, on a connection of its own, and holds the calls that wait for
//! news: they are asked again after each commit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::completions::{Completions, Ticket};
use super::replies::{closed, pack};
use super::situation::SharedSituation;
use super::watch::Watch;
use crate::model::{Fault, FaultCode, TaskKey};
use crate::store::sqlite::{EventFilter, Reader, TaskFilter};

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
    LastWord(TaskKey),
}

/// So many messages are taken before the calls that wait for news have their turn.
const MESSAGES_MAX: usize = 16;

enum Message {
    Ask(Ticket, Query),
    Abandon(Ticket),
    /// Something was committed; these tasks ended by it, or anything may have (`None`).
    Committed(Option<Vec<TaskKey>>),
    Stop,
}

/// The reading thread, from outside.
pub(super) struct Readers {
    messages: Sender<Message>,
    /// Whether a call waits for news. Set before the question is asked, so that a commit either is
    /// seen by the question or sees the flag.
    waiting: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Readers {
    pub(super) fn start(
        reader: Reader,
        situation: Arc<SharedSituation>,
        watch: &Watch,
    ) -> Result<Self, Fault> {
        let (messages, inbox) = channel();
        let waiting = Arc::new(AtomicBool::new(false));
        let desk = Desk {
            reader,
            situation,
            completions: watch.completions.clone(),
            waiting: Arc::clone(&waiting),
            events: Vec::new(),
            last_words: HashMap::new(),
        };
        let thread = watch.spawn("outhaul-read", move || desk.run(&inbox))?;
        Ok(Self { messages, waiting, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn ask(&self, ticket: Ticket, query: Query) {
        self.send(Message::Ask(ticket, query));
    }

    pub(super) fn abandon(&self, ticket: Ticket) {
        self.send(Message::Abandon(ticket));
    }

    /// Tells that something was committed, if anybody waits for it.
    pub(super) fn committed(&self, ended: Option<Vec<TaskKey>>) {
        if self.waiting.load(Ordering::SeqCst) {
            self.send(Message::Committed(ended));
        }
    }

    /// Ends the thread; what still waits is answered that the manager is closed.
    pub(super) fn stop(&self) {
        self.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic has been printed by the thread itself, and its calls are answered at close.
            drop(thread.join());
        }
    }

    /// Fails only once the thread has ended, which it does after answering everything.
    fn send(&self, message: Message) {
        drop(self.messages.send(message));
    }
}

/// A call that waits for events.
struct Parked {
    ticket: Ticket,
    after: u64,
    want: EventFilter,
}

/// The reading thread, from inside.
struct Desk {
    reader: Reader,
    situation: Arc<SharedSituation>,
    completions: Completions,
    waiting: Arc<AtomicBool>,
    events: Vec<Parked>,
    last_words: HashMap<TaskKey, Vec<Ticket>>,
}

impl Desk {
    fn run(mut self, inbox: &Receiver<Message>) {
        while let Ok(first) = inbox.recv() {
            let mut committed = Committed::Nothing;
            for message in std::iter::once(first).chain(inbox.try_iter()).take(MESSAGES_MAX) {
                match message {
                    Message::Ask(ticket, query) => self.ask(ticket, query),
                    Message::Abandon(ticket) => self.abandon(ticket),
                    Message::Committed(ended) => committed.add(ended),
                    Message::Stop => return self.close(),
                }
            }
            self.news(committed);
            let waiting = !self.events.is_empty() || !self.last_words.is_empty();
            self.waiting.store(waiting, Ordering::SeqCst);
        }
    }

    fn ask(&mut self, ticket: Ticket, query: Query) {
        self.waiting.store(true, Ordering::SeqCst);
        let now = self.situation.read();
        let reader = &self.reader;
        let reply = match query {
            Query::Task(key) => reader.task(key, now).map_err(Fault::from).and_then(|r| pack(&r)),
            Query::TaskById(task_id) => match reader.key_of(&task_id) {
                Ok(Some(key)) => reader.task(key, now).map_err(Fault::from).and_then(|r| pack(&r)),
                Ok(None) => pack(&None::<()>),
                Err(error) => Err(error.into()),
            },
            Query::Tasks(want) => {
                reader.tasks(&want, now).map_err(Fault::from).and_then(|r| pack(&r))
            }
            Query::Tags => reader.tags().map_err(Fault::from).and_then(|r| pack(&r)),
            Query::Counts => reader.counts().map_err(Fault::from).and_then(|r| pack(&r)),
            Query::LastEvent => reader.last_event().map_err(Fault::from).and_then(|r| pack(&r)),
            Query::Events { after, want, follow } => {
                return self.ask_events(Parked { ticket, after, want }, follow);
            }
            Query::LastWord(key) => return self.ask_last_word(ticket, key),
        };
        self.completions.reply(ticket, reply);
    }

    fn ask_events(&mut self, mut call: Parked, follow: bool) {
        match self.reader.events(call.after, &call.want) {
            Ok((events, seen)) if events.is_empty() && follow => {
                if call.want.key.is_some_and(|key| self.has_said_all(key, call.after)) {
                    return self.completions.reply(call.ticket, pack(&(events, seen)));
                }
                if let Some(fault) = call.want.key.and_then(|key| self.gone(key)) {
                    return self.completions.reply(call.ticket, Err(fault));
                }
                call.after = seen;
                self.events.push(call);
            }
            Ok(found) => self.completions.reply(call.ticket, pack(&found)),
            Err(error) => self.completions.reply(call.ticket, Err(error.into())),
        }
    }

    fn ask_last_word(&mut self, ticket: Ticket, key: TaskKey) {
        match self.reader.last_word(key) {
            Ok(Some(event)) => self.completions.reply(ticket, pack(&event)),
            Ok(None) => match self.gone(key) {
                None => self.last_words.entry(key).or_default().push(ticket),
                Some(fault) => self.completions.reply(ticket, Err(fault)),
            },
            Err(error) => self.completions.reply(ticket, Err(error.into())),
        }
    }

    /// Whether a task has ended, by an event that is not after a number.
    fn has_said_all(&self, key: TaskKey, after: u64) -> bool {
        self.reader.last_word(key).is_ok_and(|word| word.is_some_and(|word| word.seq <= after))
    }

    /// Why nothing more will ever be heard of a task: retention has removed it.
    fn gone(&self, key: TaskKey) -> Option<Fault> {
        match self.reader.is_stored(key) {
            Ok(true) => None,
            Ok(false) => Some(Fault::new(
                FaultCode::NotFound,
                "",
                "the task ended long ago and has been removed by retention",
            )),
            Err(error) => Some(error.into()),
        }
    }

    fn abandon(&mut self, ticket: Ticket) {
        self.events.retain(|call| call.ticket != ticket);
        self.last_words.retain(|_, tickets| {
            tickets.retain(|waiting| *waiting != ticket);
            !tickets.is_empty()
        });
    }

    fn news(&mut self, committed: Committed) {
        let ended = match committed {
            Committed::Nothing => return,
            Committed::Ended(keys) => keys,
            Committed::Anything => self.last_words.keys().copied().collect(),
        };
        for key in ended {
            for ticket in self.last_words.remove(&key).unwrap_or_default() {
                self.ask_last_word(ticket, key);
            }
        }
        for call in std::mem::take(&mut self.events) {
            self.ask_events(call, true);
        }
    }

    fn close(self) {
        let words = self.last_words.into_values().flatten();
        for ticket in words.chain(self.events.into_iter().map(|call| call.ticket)) {
            self.completions.reply(ticket, Err(closed()));
        }
    }
}

/// What several commits brought together.
enum Committed {
    Nothing,
    Ended(Vec<TaskKey>),
    Anything,
}

impl Committed {
    fn add(&mut self, ended: Option<Vec<TaskKey>>) {
        match (&mut *self, ended) {
            (Self::Ended(keys), Some(more)) => keys.extend(more),
            (Self::Nothing, Some(keys)) => *self = Self::Ended(keys),
            (Self::Anything, _) | (_, None) => *self = Self::Anything,
        }
    }
}
