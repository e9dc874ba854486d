//! Laws of [`Meter`], over any order of calls.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

use outhaul_core::progress::{Mark, Meter, Update};
use proptest::prelude::*;

/// What a transfer may tell its meter.
#[derive(Clone, Copy, Debug)]
enum Call {
    Begin,
    Sent(u64),
    Acknowledged(u64),
}

fn calls() -> impl Strategy<Value = Vec<(Call, i64)>> {
    // Mostly small, or each transfer would be at 99 % after a few calls.
    let count = prop_oneof![20 => 0..=20_u64, 5 => 0..=400_u64, 1 => Just(u64::MAX)];
    let call = prop_oneof![
        1 => Just(Call::Begin),
        8 => count.clone().prop_map(Call::Sent),
        2 => count.prop_map(Call::Acknowledged),
    ];
    let calls = |len| prop::collection::vec((call.clone(), 0..=60_i64), len);
    prop_oneof![calls(0..12), calls(0..300)]
}

fn totals() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0_u64), Just(1), 2..=99_u64, 100..=400_u64]
}

fn tell(meter: &mut Meter, call: Call, now_ms: i64) -> Option<Update> {
    match call {
        Call::Begin => Some(meter.begin(now_ms)),
        Call::Sent(bytes) => meter.sent(bytes, now_ms),
        Call::Acknowledged(bytes) => meter.acknowledged(bytes, now_ms),
    }
}

fn never_falls(before: &Update, after: &Update) -> bool {
    before.percent <= after.percent
        && before.bytes_sent <= after.bytes_sent
        && before.bytes_acknowledged <= after.bytes_acknowledged
}

proptest! {
    #[test]
    fn nothing_goes_back_and_all_counts_are_within_bounds(
        total in totals(), mark in 0..=120_u8, calls in calls(),
    ) {
        let (mut meter, mut now_ms) = (Meter::new(total, mark, 100), 0);
        let mut last = meter.begin(now_ms);
        prop_assert!(last.percent >= mark.min(99));
        for (call, wait_ms) in calls {
            now_ms += wait_ms;
            let Some(update) = tell(&mut meter, call, now_ms) else { continue };
            prop_assert!(never_falls(&last, &update), "{last:?} then {update:?}");
            prop_assert!(update.percent <= 99, "done before the answer: {update:?}");
            prop_assert!(update.bytes_sent <= total);
            prop_assert!(update.bytes_acknowledged <= update.bytes_sent);
            prop_assert_eq!(update.percent, meter.percent());
            last = update;
        }
        let end = meter.answered(now_ms);
        prop_assert!(never_falls(&last, &end));
        prop_assert_eq!((end.percent, end.bytes_sent, end.bytes_acknowledged), (100, total, total));
        prop_assert_eq!(end.remaining_ms, Some(0));
    }

    #[test]
    fn the_percentage_is_the_floor_of_what_was_sent(
        total in 1..=400_u64, sent in 0..=400_u64, acknowledged in 0..=400_u64,
    ) {
        let mut meter = Meter::new(total, 0, 0);
        meter.begin(0);
        meter.sent(sent, 1);
        meter.acknowledged(acknowledged, 2);
        let most = sent.max(acknowledged).min(total);
        prop_assert_eq!(u64::from(meter.percent()), (most * 100 / total).min(99));
    }

    #[test]
    fn one_attempt_makes_at_most_101_updates_and_one_per_percent(
        total in totals(), mark in 0..=99_u8, calls in calls(),
    ) {
        let (mut meter, mut now_ms) = (Meter::new(total, mark, 0), 0);
        let mut percents = vec![meter.begin(now_ms).percent];
        for (call, wait_ms) in calls {
            now_ms += wait_ms;
            if !matches!(call, Call::Begin) {
                percents.extend(tell(&mut meter, call, now_ms).map(|update| update.percent));
            }
        }
        percents.push(meter.answered(now_ms).percent);
        prop_assert!(percents.len() <= 101);
        prop_assert!(percents.is_sorted_by(|a, b| a < b), "{percents:?}");
    }

    #[test]
    fn an_update_waits_for_the_interval_and_then_comes(
        total in 100..=400_u64, interval_ms in 1..=50_i64, calls in calls(),
    ) {
        let (mut meter, mut now_ms, mut told_ms) = (Meter::new(total, 0, interval_ms), 0, 0);
        meter.begin(0);
        for (call, wait_ms) in calls {
            now_ms += wait_ms;
            let gate = meter.next_gate();
            match (call, tell(&mut meter, call, now_ms)) {
                (Call::Begin, _) => told_ms = now_ms,
                (_, Some(_)) => {
                    prop_assert!(now_ms - told_ms >= interval_ms);
                    told_ms = now_ms;
                }
                (Call::Sent(bytes), None) if bytes >= gate => {
                    prop_assert!(gate == u64::MAX || now_ms - told_ms < interval_ms);
                }
                (_, None) => {}
            }
        }
    }

    #[test]
    fn below_the_gate_nothing_is_told_and_at_the_gate_it_is(
        total in totals(), mark in 0..=99_u8, short_by in 1..=3_u64,
    ) {
        let mark = Mark { percent: mark, ..Mark::default() };
        let mut meter = Meter::with_mark(total, mark, 0);
        meter.begin(0);
        let gate = meter.next_gate();
        prop_assert_eq!(meter.sent(gate.saturating_sub(short_by).min(total), 1), None);
        if gate <= total {
            prop_assert!(meter.sent(gate, 2).is_some());
        }
    }

    #[test]
    fn a_later_attempt_never_falls_behind_an_earlier_one_of_which_only_the_percentage_is_known(
        total in totals(), first in calls(), second in calls(),
    ) {
        let (mut meter, mut now_ms) = (Meter::new(total, 0, 0), 0);
        let mut last = meter.begin(0);
        for (call, wait_ms) in first {
            now_ms += wait_ms;
            // Acknowledged counts outlive an attempt at the server, not in a percentage.
            if let Call::Sent(bytes) = call {
                last = meter.sent(bytes, now_ms).unwrap_or(last);
            }
        }
        let mut again = Meter::new(total, meter.percent(), 0);
        let begin = again.begin(0);
        prop_assert!(never_falls(&last, &begin), "{last:?} then {begin:?}");
        prop_assert_eq!(begin.percent, last.percent);
        for (call, wait_ms) in second {
            now_ms += wait_ms;
            if let Some(update) = tell(&mut again, call, now_ms) {
                prop_assert!(never_falls(&begin, &update));
            }
        }
    }

    #[test]
    fn a_carried_mark_is_where_the_next_meter_stands(total in totals(), calls in calls()) {
        let (mut meter, mut now_ms) = (Meter::new(total, 0, 0), 0);
        meter.begin(0);
        for (call, wait_ms) in calls {
            now_ms += wait_ms;
            tell(&mut meter, call, now_ms);
        }
        let begin = Meter::with_mark(total, meter.mark(), 0).begin(0);
        let mark = meter.mark();
        prop_assert_eq!(begin.bytes_sent, mark.bytes_sent);
        prop_assert_eq!(begin.bytes_acknowledged, mark.bytes_acknowledged);
        prop_assert!(begin.percent >= mark.percent);
    }

    #[test]
    fn a_steady_rate_is_measured_exactly_whatever_the_samples(
        bytes_per_ms in 1..=1_000_u64, waits in prop::collection::vec(1..=3_000_u32, 1..50),
    ) {
        let (mut meter, mut now_ms) = (Meter::new(1_000 * 3_000 * 50, 0, 0), 0_i64);
        meter.begin(0);
        let mut sent = 0;
        for wait_ms in waits {
            now_ms += i64::from(wait_ms);
            sent += bytes_per_ms * u64::from(wait_ms);
            meter.sent(sent, now_ms);
        }
        let rate = meter.answered(now_ms).rate_bytes_per_s;
        let expected = f64::from(u32::try_from(bytes_per_ms).unwrap()) * 1_000.0;
        prop_assert!((rate - expected).abs() < expected * 1e-9, "{rate} for {expected}");
    }
}

#[test]
fn the_first_update_is_zero_percent_and_knows_no_rate() {
    let update = Meter::new(1_000, 0, 100).begin(7);
    assert_eq!((update.percent, update.bytes_sent, update.bytes_total), (0, 0, 1_000));
    assert!(update.rate_bytes_per_s.abs() < f64::EPSILON);
    assert_eq!(update.remaining_ms, None);
}

#[test]
fn the_rest_takes_as_long_as_it_would_at_that_rate() {
    let mut meter = Meter::new(1_000, 0, 100);
    meter.begin(0);
    let update = meter.sent(250, 500).unwrap();
    assert_eq!((update.percent, update.remaining_ms), (25, Some(1_500)));
}

#[test]
fn the_rest_is_counted_from_this_attempt_and_not_from_the_mark() {
    let mut meter = Meter::new(1_000, 0, 100);
    meter.begin(0);
    assert_eq!(meter.sent(900, 50), None, "the interval has not passed");
    meter.begin(1_000);
    let update = meter.sent(100, 2_000).unwrap();
    assert_eq!((update.percent, update.bytes_sent), (90, 900));
    assert_eq!(update.remaining_ms, Some(9_000), "900 bytes at 100 bytes/s");
}

#[test]
fn a_mark_that_contradicts_itself_is_made_consistent() {
    let mark = |percent, bytes_sent, bytes_acknowledged| {
        let mark = Mark { percent, bytes_sent, bytes_acknowledged };
        let update = Meter::with_mark(200, mark, 0).begin(0);
        (update.percent, update.bytes_sent, update.bytes_acknowledged)
    };
    assert_eq!(mark(10, 100, 150), (50, 100, 100));
    assert_eq!(mark(0, 300, 0), (99, 200, 0));
    assert_eq!(mark(100, 0, 0), (99, 0, 0));
}

#[test]
fn a_second_attempt_measures_its_own_rate() {
    let mut meter = Meter::new(1_000, 0, 0);
    meter.begin(0);
    meter.sent(500, 1);
    meter.begin(10_000);
    let update = meter.sent(600, 16_000).unwrap();
    assert!((update.rate_bytes_per_s - 100.0).abs() < 1e-6, "{update:?}");
}

#[test]
fn a_recent_second_counts_more_than_an_old_one() {
    let mut meter = Meter::new(1_000_000, 0, 0);
    meter.begin(0);
    meter.sent(10_000, 10_000); // 1 kB/s for 10 s
    let update = meter.sent(110_000, 20_000).unwrap(); // then 10 kB/s for 10 s
    assert!((8_500.0..9_900.0).contains(&update.rate_bytes_per_s), "{update:?}");
}

#[test]
fn bytes_that_an_earlier_attempt_sent_are_not_in_the_rate() {
    let mut meter = Meter::new(1_000, 0, 0);
    meter.begin(0);
    meter.acknowledged(500, 0);
    let update = meter.sent(600, 1_000).unwrap();
    assert!((update.rate_bytes_per_s - 100.0).abs() < 1e-6, "{update:?}");
    assert_eq!((update.bytes_sent, update.bytes_acknowledged), (600, 500));
}

#[test]
fn waiting_for_the_answer_does_not_lower_the_rate() {
    let mut meter = Meter::new(1_000, 0, 0);
    meter.begin(0);
    meter.sent(990, 990);
    let update = meter.answered(60_000);
    assert!((update.rate_bytes_per_s - 1_000.0).abs() < 1e-6, "{update:?}");
}

#[test]
fn a_transfer_too_short_to_measure_has_its_average_as_rate() {
    let mut meter = Meter::new(1_000, 0, 0);
    meter.begin(0);
    let update = meter.answered(500);
    assert!((update.rate_bytes_per_s - 2_000.0).abs() < 1e-6, "{update:?}");
}

#[test]
fn an_empty_body_is_zero_percent_until_it_is_answered() {
    let mut meter = Meter::new(0, 0, 0);
    assert_eq!(meter.begin(0).percent, 0);
    assert_eq!((meter.sent(0, 1), meter.next_gate()), (None, u64::MAX));
    assert_eq!(meter.answered(2).percent, 100);
}

#[test]
fn nothing_follows_the_answer() {
    let mut meter = Meter::new(1_000, 0, 0);
    meter.begin(0);
    meter.answered(1);
    assert_eq!((meter.sent(1_000, 2), meter.acknowledged(1_000, 3)), (None, None));
    assert_eq!((meter.percent(), meter.next_gate()), (100, u64::MAX));
}

#[test]
fn a_count_that_the_interval_held_back_comes_when_it_is_repeated() {
    let mut meter = Meter::new(1_000, 0, 100);
    meter.begin(0);
    assert_eq!(meter.sent(500, 99), None);
    assert_eq!(meter.sent(500, 100).map(|update| update.percent), Some(50));
    assert_eq!(meter.sent(500, 300), None);
}

#[test]
fn the_largest_numbers_neither_overflow_nor_panic() {
    let mark = Mark { percent: u8::MAX, bytes_sent: u64::MAX, bytes_acknowledged: u64::MAX };
    let mut meter = Meter::with_mark(u64::MAX, mark, i64::MIN);
    assert_eq!(meter.begin(i64::MAX).percent, 99);
    assert_eq!(meter.sent(u64::MAX, i64::MIN), None);
    assert_eq!(meter.answered(i64::MAX).bytes_sent, u64::MAX);
    let mut meter = Meter::new(u64::MAX, 0, i64::MAX);
    meter.begin(i64::MIN);
    assert_eq!(meter.sent(u64::MAX, i64::MAX).map(|update| update.percent), Some(99));
}

#[test]
fn a_clock_that_stands_still_or_goes_back_does_no_harm() {
    let mut meter = Meter::new(1_000, 0, 0);
    meter.begin(1_000);
    let same = meter.sent(100, 1_000).unwrap();
    assert!(same.rate_bytes_per_s.is_finite() && same.remaining_ms.is_none(), "{same:?}");
    assert_eq!(meter.sent(300, 500), None, "the interval has not passed");
    let later = meter.sent(300, 2_000).unwrap();
    assert!((later.rate_bytes_per_s - 300.0).abs() < 1e-6, "{later:?}");
}
