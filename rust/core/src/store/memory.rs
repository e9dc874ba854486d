//! A store in memory: what the simulation and the conformance suite drive. Loses all at the end.

use std::collections::BTreeMap;

use super::{Body, RunnerInfo, Selection, Store, StoreError};
use crate::engine::{Effect, End, Live, NewTask};
use crate::model::task_id::key_of_generated_id;
use crate::model::{Epoch, EventKind, TaskKey, TaskStatus, UnixMillis};

/// What is on the imaginary disk.
#[derive(Clone, Debug, Default)]
struct Tables {
    bodies: BTreeMap<TaskKey, Body>,
    live: BTreeMap<TaskKey, Live>,
    done: BTreeMap<TaskKey, (TaskStatus, u32, End)>,
    names: BTreeMap<String, TaskKey>,
    events: Vec<(EventKind, TaskKey)>,
    epochs: Epoch,
}

/// What a change replaced; undone in reverse where a transaction is given up.
#[derive(Clone, Debug)]
enum Undo {
    Inserted(TaskKey),
    Live(Live),
    Done(TaskKey),
    Named(String, Option<TaskKey>),
    Recorded,
    Epoch,
}

/// A store in memory. What it shows outside of the trait is what is committed, as long as no
/// transaction is open.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: Tables,
    open: Option<Vec<Undo>>,
}

impl MemoryStore {
    fn tables(&mut self) -> Result<&mut Tables, StoreError> {
        self.writing().map(|(tables, _)| tables)
    }

    fn writing(&mut self) -> Result<(&mut Tables, &mut Vec<Undo>), StoreError> {
        match &mut self.open {
            Some(undo) => Ok((&mut self.tables, undo)),
            None => Err(StoreError::Internal("no transaction is open".to_owned())),
        }
    }

    /// How a task ended.
    pub fn ended(&self, key: TaskKey) -> Option<TaskStatus> {
        self.tables.done.get(&key).map(|(status, _, _)| *status)
    }

    /// How many tasks have ended.
    pub fn done_len(&self) -> usize {
        self.tables.done.len()
    }

    /// The narrow row of a task that lives.
    pub fn committed(&self, key: TaskKey) -> Option<&Live> {
        self.tables.live.get(&key)
    }

    /// Every narrow row.
    pub fn committed_live(&self) -> impl Iterator<Item = &Live> {
        self.tables.live.values()
    }

    /// Every event, in order.
    pub fn committed_events(&self) -> &[(EventKind, TaskKey)] {
        &self.tables.events
    }
}

impl Tables {
    fn insert(
        &mut self,
        live: &Live,
        task: &NewTask,
        undo: &mut Vec<Undo>,
    ) -> Result<(), StoreError> {
        if self.bodies.contains_key(&live.key) {
            return Err(StoreError::Internal(format!("task {} is there already", live.key)));
        }
        let body = Body::of(task);
        if let Some(task_id) = &task.task_id {
            let before = self.names.insert(task_id.to_string(), live.key);
            undo.push(Undo::Named(task_id.to_string(), before));
        }
        self.bodies.insert(live.key, body);
        self.live.insert(live.key, live.clone());
        undo.push(Undo::Inserted(live.key));
        Ok(())
    }

    fn apply(&mut self, effect: &Effect, undo: &mut Vec<Undo>) -> Result<(), StoreError> {
        match effect {
            Effect::Insert { live, task, .. } => self.insert(live, task, undo)?,
            Effect::Update(live) => {
                let row = self.live.get_mut(&live.key).ok_or_else(|| not_live(live.key))?;
                undo.push(Undo::Live(std::mem::replace(row, live.clone())));
            }
            Effect::Finish { key, status, attempt, end, .. } => {
                let row = self.live.remove(key).ok_or_else(|| not_live(*key))?;
                undo.push(Undo::Live(row));
                self.done.insert(*key, (*status, *attempt, end.clone()));
                undo.push(Undo::Done(*key));
            }
            Effect::Record { kind, key, .. } => {
                self.events.push((*kind, *key));
                undo.push(Undo::Recorded);
            }
            Effect::Start { .. } | Effect::Stop { .. } => {}
        }
        Ok(())
    }

    fn undo(&mut self, change: Undo) {
        match change {
            Undo::Inserted(key) => {
                self.bodies.remove(&key);
                self.live.remove(&key);
            }
            Undo::Live(live) => _ = self.live.insert(live.key, live),
            Undo::Done(key) => _ = self.done.remove(&key),
            Undo::Named(task_id, Some(key)) => _ = self.names.insert(task_id, key),
            Undo::Named(task_id, None) => _ = self.names.remove(&task_id),
            Undo::Recorded => _ = self.events.pop(),
            Undo::Epoch => self.epochs -= 1,
        }
    }
}

fn not_live(key: TaskKey) -> StoreError {
    StoreError::Internal(format!("task {key} does not live"))
}

impl Store for MemoryStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        if self.open.is_some() {
            return Err(StoreError::Internal("a transaction is open already".to_owned()));
        }
        self.open = Some(Vec::new());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.writing()?;
        self.open = None;
        Ok(())
    }

    fn rollback(&mut self) {
        for change in self.open.take().unwrap_or_default().into_iter().rev() {
            self.tables.undo(change);
        }
    }

    fn apply(&mut self, effects: &[Effect]) -> Result<(), StoreError> {
        let (tables, undo) = self.writing()?;
        effects.iter().try_for_each(|effect| tables.apply(effect, undo))
    }

    fn foreign_changes(&mut self) -> Result<Vec<TaskKey>, StoreError> {
        Ok(Vec::new())
    }

    fn begin_epoch(&mut self, _: &RunnerInfo) -> Result<Epoch, StoreError> {
        let (tables, undo) = self.writing()?;
        tables.epochs += 1;
        undo.push(Undo::Epoch);
        Ok(tables.epochs)
    }

    fn last_epoch(&mut self) -> Result<Epoch, StoreError> {
        Ok(self.tables()?.epochs)
    }

    fn end_epoch(&mut self, _: Epoch, _: UnixMillis) -> Result<(), StoreError> {
        Ok(())
    }

    fn last_key(&mut self) -> Result<TaskKey, StoreError> {
        Ok(self.tables()?.bodies.keys().next_back().copied().unwrap_or_default())
    }

    fn newest(&mut self, task_id: &str) -> Result<Option<TaskKey>, StoreError> {
        let named = self.tables()?.names.get(task_id).copied();
        Ok(named.or_else(|| key_of_generated_id(task_id)))
    }

    fn live(&mut self, key: TaskKey) -> Result<Option<Live>, StoreError> {
        Ok(self.tables()?.live.get(&key).cloned())
    }

    fn each_live(&mut self, take: &mut dyn FnMut(Live)) -> Result<(), StoreError> {
        self.tables()?.live.values().cloned().for_each(take);
        Ok(())
    }

    fn select(&mut self, selection: &Selection) -> Result<Vec<TaskKey>, StoreError> {
        let named = match selection {
            Selection::TaskId(task_id) => self.newest(task_id)?,
            Selection::Key(key) => Some(*key),
            Selection::Tag(_) | Selection::All => None,
        };
        let tables = self.tables()?;
        let meant = |key: &TaskKey| match selection {
            Selection::Key(_) | Selection::TaskId(_) => named == Some(*key),
            Selection::Tag(tag) => {
                tables.bodies.get(key).and_then(|body| body.tag.as_deref()) == Some(tag)
            }
            Selection::All => true,
        };
        Ok(tables.live.keys().copied().filter(meant).collect())
    }

    fn body(&mut self, key: TaskKey) -> Result<Option<Body>, StoreError> {
        Ok(self.tables()?.bodies.get(&key).cloned())
    }
}
