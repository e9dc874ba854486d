//! The admission queue with files that open at once, slowly or never.

use std::sync::mpsc::{Sender, channel};

use super::*;
use crate::model::spec::ExistingPolicy;
use crate::runtime::inbox::BACKLOG_MAX;
use crate::runtime::lock::LockSlot;

struct Scene {
    admissions: Arc<AdmissionQueue>,
    calls: Sender<Call>,
    /// Lets a file open that has kept its thread.
    open: Sender<()>,
}

fn task() -> NewTask {
    NewTask {
        task_id: None,
        tag: None,
        spec: Bytes::new(),
        admitted: Bytes::new(),
        run_at: 0,
        priority: 0,
        attempts_max: 1,
        lane: 0,
        needs: 0,
        native: true,
        existing_policy: ExistingPolicy::Keep,
    }
}

const TIMEOUT: Duration = Duration::from_millis(40);
const SLOW: Duration = Duration::from_millis(150);

/// A queue where the specification `hangs` takes until it is let go, and `slow` a while.
fn scene(timeout: Duration) -> Scene {
    let supervisor = Supervisor {
        completions: Completions::new().unwrap(),
        inbox: Arc::default(),
        lock: LockSlot::new(),
    };
    let (calls, arrivals) = channel();
    let (open, opened) = channel();
    let opened = Mutex::new(opened);
    let admit = move |spec: &Bytes| {
        match &**spec {
            b"hangs" => opened.lock().unwrap().recv().unwrap_or_default(),
            b"slow" => std::thread::sleep(SLOW),
            _ => {}
        }
        Ok(task())
    };
    let admissions = Arc::new(AdmissionQueue::new(Box::new(admit), timeout, arrivals, supervisor));
    admissions.start().unwrap();
    Scene { admissions, calls, open }
}

impl Scene {
    fn enqueue(&self, specs: &[(Ticket, &[u8])]) {
        self.admissions.inbox().reserve(specs.len()).unwrap();
        let enqueues =
            specs.iter().map(|(ticket, spec)| (*ticket, Bytes::copy_from_slice(spec))).collect();
        self.send(Call::Enqueue(enqueues));
    }

    fn enqueue_all(&self, ticket: Ticket, parts: &[&[&[u8]]]) {
        for part in parts {
            self.admissions.inbox().reserve(part.len()).unwrap();
            self.send(Call::Part(
                ticket,
                part.iter().map(|spec| Bytes::copy_from_slice(spec)).collect(),
            ));
        }
        self.send(Call::EnqueueAll(ticket));
    }

    /// A task that opens no file.
    fn pass(&self, ticket: Ticket) {
        self.admissions.inbox().reserve(1).unwrap();
        self.send(Call::Pass(Op::Enqueue { ticket, task: task() }));
    }

    fn send(&self, call: Call) {
        self.admissions.expect();
        self.calls.send(call).unwrap();
    }

    /// The next ops that are enqueues, by their tickets; replaces threads that hang meanwhile.
    fn admitted(&self, number: usize) -> Vec<Ticket> {
        self.taken(number, || self.admissions.replace_hung_thread().unwrap())
    }

    fn taken(&self, number: usize, meanwhile: impl Fn()) -> Vec<Ticket> {
        let began = Instant::now();
        let mut tickets = Vec::new();
        while tickets.len() < number {
            assert!(began.elapsed() < Duration::from_secs(20), "{tickets:?}");
            for op in self.admissions.inbox().take(8, Duration::from_millis(5)) {
                if let Op::Enqueue { ticket, .. } | Op::EnqueueAll { ticket, .. } = op {
                    tickets.push(ticket);
                }
            }
            meanwhile();
        }
        tickets
    }
}

#[test]
fn a_file_that_does_not_open_holds_up_nobody_but_its_own_caller() {
    let scene = scene(TIMEOUT);
    scene.enqueue(&[(1, b"a"), (2, b"hangs"), (3, b"b")]);
    scene.enqueue(&[(4, b"c")]);
    assert_eq!(scene.admitted(3), [1, 3, 4]);
    let mut replies = scene.admissions.completions().drain(8).replies;
    let [(2, Err(fault))] = replies.make_contiguous() else { panic!("{replies:?}") };
    assert_eq!(fault.argument, "file_path");
}

#[test]
fn a_file_that_opens_too_late_is_not_stored_and_its_thread_is_no_longer_lost() {
    let scene = scene(TIMEOUT);
    scene.enqueue(&[(1, b"hangs")]);
    scene.enqueue(&[(2, b"a")]);
    assert_eq!(scene.admitted(1), [2]);
    assert_eq!(scene.admissions.state().hung, 1);
    scene.open.send(()).unwrap();
    while scene.admissions.state().hung != 0 {
        std::thread::yield_now();
    }
    scene.enqueue(&[(3, b"a")]);
    assert_eq!(scene.admitted(1), [3]);
    assert_eq!(scene.admissions.completions().drain(8).replies.len(), 1);
}

#[test]
fn several_files_that_do_not_open_hold_up_others_hardly_longer_than_one() {
    let timeout = Duration::from_millis(300);
    let scene = scene(timeout);
    let began = Instant::now();
    scene.enqueue(&[(1, b"hangs"), (2, b"hangs"), (3, b"hangs"), (4, b"hangs"), (5, b"a")]);
    assert_eq!(scene.admitted(1), [5]);
    assert!(began.elapsed() < 3 * timeout, "{:?}", began.elapsed());
    assert_eq!(scene.admissions.completions().drain(8).replies.len(), 4);
}

#[test]
fn many_files_that_open_slowly_are_not_taken_for_one_that_does_not() {
    let scene = scene(3 * SLOW);
    scene.enqueue_all(1, &[&[b"slow".as_slice(); 5]]);
    assert_eq!(scene.admitted(1), [1]);
    assert!(scene.admissions.completions().drain(8).replies.is_empty());
}

#[test]
fn of_several_files_the_refusal_names_the_one_that_does_not_open() {
    let scene = scene(TIMEOUT);
    scene.enqueue_all(1, &[&[b"a", b"a"], &[b"a", b"hangs", b"a"], &[b"hangs"]]);
    scene.enqueue(&[(2, b"a")]);
    assert_eq!(scene.admitted(1), [2]);
    let mut replies = scene.admissions.completions().drain(8).replies;
    let [(1, Err(fault))] = replies.make_contiguous() else { panic!("{replies:?}") };
    assert_eq!(fault.argument, "tasks[3].file_path");
}

#[test]
fn an_enqueue_that_is_refused_or_given_up_gives_its_room_back() {
    let scene = scene(TIMEOUT);
    let send_part = |ticket| {
        scene.admissions.inbox().reserve(3).unwrap();
        scene.send(Call::Part(ticket, vec![Bytes::from_static(b"a"); 3]));
    };
    send_part(1);
    scene.send(Call::Abandon(1));
    send_part(2);
    scene.send(Call::Refused(2));
    send_part(2); // comes to nothing
    scene.send(Call::EnqueueAll(2));
    scene.enqueue(&[(3, b"a")]);
    assert_eq!(scene.admitted(1), [3]);
    scene.admissions.inbox().reserve(BACKLOG_MAX).unwrap();
}

#[test]
fn only_so_many_threads_are_lost() {
    let scene = scene(TIMEOUT);
    for ticket in 0..u64::from(HUNG_MAX) {
        scene.enqueue(&[(ticket, b"hangs")]);
    }
    scene.pass(99);
    assert_eq!(scene.admitted(1), [99]);
    assert_eq!(scene.admissions.state().hung, HUNG_MAX);
    scene.admissions.completions().drain(64);
    scene.enqueue(&[(100, b"a")]);
    scene.pass(101);
    assert_eq!(scene.admitted(1), [101]);
    let mut replies = scene.admissions.completions().drain(8).replies;
    let [(100, Err(fault))] = replies.make_contiguous() else { panic!("{replies:?}") };
    assert_eq!(fault.code, FaultCode::QueueFull);
    scene.open.send(()).unwrap();
    while scene.admissions.state().hung == HUNG_MAX {
        std::thread::yield_now();
    }
    scene.enqueue(&[(102, b"a")]);
    assert_eq!(scene.admitted(1), [102]);
}

#[test]
fn a_thread_that_comes_back_as_the_last_that_could_be_lost_does_not_sit_down_again() {
    let scene = scene(TIMEOUT);
    // The first to hang is the first to open: it has another task to look at then.
    scene.enqueue_all(200, &[&[b"hangs", b"a"]]);
    for ticket in 1..u64::from(HUNG_MAX) {
        scene.enqueue(&[(ticket, b"hangs")]);
    }
    scene.pass(99);
    assert_eq!(scene.admitted(1), [99]);
    assert_eq!(scene.admissions.state().hung, HUNG_MAX);
    let began = Instant::now();
    for _ in 0..HUNG_MAX {
        scene.open.send(()).unwrap();
    }
    while scene.admissions.state().hung != 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", scene.admissions.state().hung);
        std::thread::yield_now();
    }
    let replies = scene.admissions.completions().drain(64).replies;
    assert_eq!(replies.iter().filter(|(ticket, _)| *ticket == 200).count(), 1);
    scene.admissions.inbox().reserve(BACKLOG_MAX).unwrap();
}
