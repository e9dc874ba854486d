//! A reading thread, from inside.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use super::Query;
use crate::model::{Fault, FaultCode, TaskKey};
use crate::runtime::completions::{Completions, Reply, Ticket};
use crate::runtime::replies::{closed, pack};
use crate::runtime::situation::SharedSituation;
use crate::store::StoreError;
use crate::store::sqlite::{EventFilter, Reader};

/// At most this many messages are taken before the calls that wait for news have their turn.
const MESSAGES_MAX: usize = 16;

pub(super) enum Message {
    Ask(Ticket, Query),
    Abandon(Ticket),
    /// Something was committed; these tasks ended by it, or anything may have (`None`).
    Committed(Option<Vec<TaskKey>>),
    Stop,
}

/// A call that waits for events.
struct WaitingCall {
    ticket: Ticket,
    after: u64,
    want: EventFilter,
}

/// Answers questions, one after the other.
pub(super) struct ReaderThread {
    reader: Reader,
    situation: Arc<SharedSituation>,
    completions: Completions,
    waiting: Arc<AtomicBool>,
    events: Vec<WaitingCall>,
    terminal_events: FxHashMap<TaskKey, Vec<Ticket>>,
}

impl ReaderThread {
    pub(super) fn new(
        reader: Reader,
        situation: &Arc<SharedSituation>,
        completions: &Completions,
        waiting: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            reader,
            situation: Arc::clone(situation),
            completions: completions.clone(),
            waiting: Arc::clone(waiting),
            events: Vec::new(),
            terminal_events: FxHashMap::default(),
        }
    }

    /// For questions that take long: looks before each whether somebody still waits for it. Begins
    /// with a message that was received before.
    pub(super) fn run_long(mut self, first: Message, inbox: &Receiver<Message>) {
        let mut questions = VecDeque::new();
        let mut next = Some(first);
        loop {
            let mut abandoned = FxHashSet::default();
            for message in next.take().into_iter().chain(inbox.try_iter()) {
                match message {
                    Message::Ask(ticket, query) => questions.push_back((ticket, query)),
                    Message::Abandon(ticket) => drop(abandoned.insert(ticket)),
                    Message::Committed(_) => {}
                    Message::Stop => {
                        for (ticket, _) in questions {
                            self.completions.reply(ticket, Err(closed()));
                        }
                        return;
                    }
                }
            }
            if !abandoned.is_empty() {
                questions.retain(|(ticket, _)| !abandoned.contains(ticket));
            }
            match questions.pop_front() {
                Some((ticket, query)) => self.ask(ticket, query),
                None => match inbox.recv() {
                    Ok(message) => next = Some(message),
                    Err(_) => return,
                },
            }
        }
    }

    /// For questions that take no time, and the calls that wait for news.
    pub(super) fn run(mut self, inbox: &Receiver<Message>) {
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
            let waiting = !self.events.is_empty() || !self.terminal_events.is_empty();
            self.waiting.store(waiting, Ordering::SeqCst);
        }
    }

    fn ask(&mut self, ticket: Ticket, query: Query) {
        self.waiting.store(true, Ordering::SeqCst);
        let now = self.situation.read();
        let reader = &self.reader;
        let reply = match query {
            Query::Task(key) => packed(reader.task(key, now)),
            Query::TaskById(task_id) => match reader.key_of(&task_id) {
                Ok(Some(key)) => packed(reader.task(key, now)),
                Ok(None) => pack(&None::<()>),
                Err(error) => Err(error.into()),
            },
            Query::Tasks(want) => packed(reader.tasks(&want, now)),
            Query::Tags => packed(reader.tags()),
            Query::Counts => packed(reader.counts()),
            Query::LastEvent => packed(reader.last_event()),
            Query::Events { after, want, follow } => {
                return self.ask_events(WaitingCall { ticket, after, want }, follow);
            }
            Query::TerminalEvent(key) => return self.ask_terminal_event(ticket, key),
        };
        self.completions.reply(ticket, reply);
    }

    fn ask_events(&mut self, mut call: WaitingCall, follow: bool) {
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

    fn ask_terminal_event(&mut self, ticket: Ticket, key: TaskKey) {
        match self.reader.terminal_event(key) {
            Ok(Some(event)) => self.completions.reply(ticket, pack(&event)),
            Ok(None) => match self.gone(key) {
                None => self.terminal_events.entry(key).or_default().push(ticket),
                Some(fault) => self.completions.reply(ticket, Err(fault)),
            },
            Err(error) => self.completions.reply(ticket, Err(error.into())),
        }
    }

    /// Whether a task has ended, by an event that is not after a number.
    fn has_said_all(&self, key: TaskKey, after: u64) -> bool {
        self.reader
            .terminal_event(key)
            .is_ok_and(|event| event.is_some_and(|event| event.seq <= after))
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
        self.terminal_events.retain(|_, tickets| {
            tickets.retain(|waiting| *waiting != ticket);
            !tickets.is_empty()
        });
    }

    fn news(&mut self, committed: Committed) {
        let ended = match committed {
            Committed::Nothing => return,
            Committed::Ended(keys) => keys,
            Committed::Anything => self.terminal_events.keys().copied().collect(),
        };
        for key in ended {
            for ticket in self.terminal_events.remove(&key).unwrap_or_default() {
                self.ask_terminal_event(ticket, key);
            }
        }
        for call in std::mem::take(&mut self.events) {
            self.ask_events(call, true);
        }
    }

    fn close(self) {
        let events = self.terminal_events.into_values().flatten();
        for ticket in events.chain(self.events.into_iter().map(|call| call.ticket)) {
            self.completions.reply(ticket, Err(closed()));
        }
    }
}

/// What was found, as it goes to Python, or why nothing was.
fn packed<T: Serialize>(found: Result<T, StoreError>) -> Reply {
    pack(&found?)
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::runtime::ManualClock;
    use crate::store::sqlite::{Durability, SqliteStore};

    /// The tickets that are answered, and whether that is an answer, when all this has arrived
    /// before the first question was begun.
    fn answered(messages: Vec<Message>) -> Vec<(Ticket, bool)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("work.db");
        let _store = SqliteStore::open(&path, Durability::Os).unwrap();
        let completions = Completions::new().unwrap();
        let situation = Arc::new(SharedSituation::new(Arc::new(ManualClock::new(0)), 0));
        let reader = Reader::open(&path).unwrap();
        let thread = ReaderThread::new(reader, &situation, &completions, &Arc::default());
        let (sender, inbox) = channel();
        let mut messages = messages.into_iter();
        let first = messages.next().unwrap();
        for message in messages {
            sender.send(message).unwrap();
        }
        drop(sender);
        thread.run_long(first, &inbox);
        let replies = completions.drain(usize::MAX).replies;
        replies.into_iter().map(|(ticket, reply)| (ticket, reply.is_ok())).collect()
    }

    fn ask(ticket: Ticket) -> Message {
        Message::Ask(ticket, Query::Counts)
    }

    #[test]
    fn a_long_question_that_nobody_waits_for_is_not_looked_into() {
        let said = answered(vec![ask(1), ask(2), ask(3), Message::Abandon(2), Message::Abandon(9)]);
        assert_eq!(said, [(1, true), (3, true)]);
    }

    #[test]
    fn a_close_waits_for_no_long_question_that_was_not_begun() {
        assert_eq!(answered(vec![ask(1), ask(2), Message::Stop]), [(1, false), (2, false)]);
    }
}
