use super::*;
use crate::processes::Alone;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Processes in threads of one, for tests: a channel from each to each.
struct Pretended {
    index: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Mutex<Vec<Receiver<Vec<u8>>>>,
    beside: Option<Arc<Pretended>>,
}

impl fmt::Debug for Pretended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.index)
    }
}

fn pretended(count: usize) -> Vec<Arc<dyn Processes>> {
    let others = connected(count, (0..count).map(|_| None).collect());
    let beside = others.into_iter().map(|other| Some(Arc::new(other))).collect();
    connected(count, beside).into_iter().map(|own| Arc::new(own) as Arc<dyn Processes>).collect()
}

fn connected(count: usize, beside: Vec<Option<Arc<Pretended>>>) -> Vec<Pretended> {
    let mut to: Vec<Vec<Sender<Vec<u8>>>> = (0..count).map(|_| Vec::new()).collect();
    let mut all = Vec::new();
    for _ in 0..count {
        let mut own = Vec::new();
        for senders in &mut to {
            let (sender, receiver) = channel();
            senders.push(sender);
            own.push(receiver);
        }
        all.push(own);
    }
    let process =
        |(index, ((to, from), beside))| Pretended { index, to, from: Mutex::new(from), beside };
    to.into_iter().zip(all).zip(beside).enumerate().map(process).collect()
}

impl Processes for Pretended {
    fn index(&self) -> usize {
        self.index
    }

    fn count(&self) -> usize {
        self.to.len()
    }

    fn exchange(&self, to: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
        for (sender, bytes) in self.to.iter().zip(to) {
            sender.send(bytes).map_err(|error| error.to_string())?;
        }
        let from = self.from.lock().unwrap();
        let wait = Duration::from_secs(20);
        let received = from.iter().map(|from| from.recv_timeout(wait));
        received.map(|bytes| bytes.map_err(|error| error.to_string())).collect()
    }

    fn beside(&self) -> Arc<dyn Processes> {
        Arc::clone(self.beside.as_ref().expect("only the first has another beside it")) as _
    }

    fn abort(&self, _why: &str) {}

    fn first(&self, _count: usize) -> Arc<dyn Processes> {
        Arc::new(Alone)
    }
}

/// What each of `ranks` ranks in `processes` processes returns, by rank.
fn on_all<T: Send>(processes: usize, ranks: usize, run: impl Fn(&Ranks) -> T + Sync) -> Vec<T> {
    let members: Vec<Ranks> = pretended(processes)
        .into_iter()
        .flat_map(|process| meet(process, ranks, Duration::from_secs(20)).unwrap())
        .collect();
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> =
            members.iter().map(|member| scope.spawn(move || run(member))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Numbers of a rank whose sum depends on the order in which it is taken.
fn numbers(rank: usize, length: usize) -> Vec<f32> {
    (0..length).map(|i| ((rank * 7919 + i * 104_729) % 1009) as f32 / 1009.0 - 0.3).collect()
}

#[test]
fn twelve_ranks_give_the_same_bits_in_any_number_of_processes() {
    for length in [0, 1, 5, 1000] {
        let sum = |rank: &Ranks| {
            let mut values = numbers(rank.rank(), length);
            rank.all_reduce_sum(Numbers::F32(&mut values)).unwrap();
            values.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        let expected = on_all(1, 12, sum);
        let exact = |i: usize| (0..12).map(|rank| f64::from(numbers(rank, length)[i])).sum::<f64>();
        for (i, bits) in expected[0].iter().enumerate() {
            assert!((f64::from(f32::from_bits(*bits)) - exact(i)).abs() < 1e-5);
        }
        assert!(expected.iter().all(|rank| rank == &expected[0]));
        for processes in [2, 3, 4, 6, 12] {
            assert_eq!(on_all(processes, 12, sum), expected, "{processes} processes, {length}");
        }
    }
}

#[test]
fn what_ranks_hand_over_comes_in_their_order() {
    for processes in [1, 2, 4] {
        let found = on_all(processes, 4, |rank| {
            let mine = vec![rank.rank() as u8; rank.rank()];
            rank.all_gather(&mine).unwrap()
        });
        let expected: Vec<Vec<u8>> = (0..4).map(|rank| vec![rank as u8; rank]).collect();
        assert!(found.iter().all(|all| all == &expected), "{found:?}");
    }
}

#[test]
fn many_calls_in_a_row_do_not_get_mixed_up() {
    let found = on_all(2, 4, |rank| {
        let mut total = 0.0;
        for call in 0..500 {
            let mut value = [(rank.rank() + call) as f64];
            rank.all_reduce_sum(Numbers::F64(&mut value)).unwrap();
            assert_eq!(value[0], (6 + 4 * call) as f64);
            total += value[0];
        }
        total
    });
    assert!(found.iter().all(|total| total == &found[0]));
}

#[test]
fn calls_beside_do_not_wait_for_one_another() {
    for processes in [1, 2, 4] {
        on_all(processes, 4, |rank| {
            let beside = rank.beside();
            // The even ones come to the two ways in one order, the odd ones in the other: that ends only if neither waits.
            let mut values = ([rank.rank() as f32], [10.0 * rank.rank() as f32]);
            std::thread::scope(|scope| {
                let other = scope.spawn(|| beside.all_reduce_sum(Numbers::F32(&mut values.1)));
                if rank.rank() % 2 == 0 {
                    other.join().unwrap().unwrap();
                    rank.all_reduce_sum(Numbers::F32(&mut values.0)).unwrap();
                } else {
                    // The even ones come here when this has taken part in the call beside.
                    rank.all_reduce_sum(Numbers::F32(&mut values.0)).unwrap();
                    other.join().unwrap().unwrap();
                }
            });
            assert_eq!(values, ([6.0], [60.0]));
            assert_eq!((beside.rank(), beside.size()), (rank.rank(), rank.size()));
        });
    }
}

#[test]
fn a_rank_that_leaves_ends_calls_beside_too() {
    let ranks = meet(Arc::new(Alone), 2, Duration::from_secs(60)).unwrap();
    let error = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ranks[0].beside().all_gather(&[]).unwrap_err().to_string());
        ranks[1].leave("its disk is full");
        waiting.join().unwrap()
    });
    assert_eq!(error, "rank 1 has left: its disk is full");
}

#[test]
fn a_rank_that_does_not_come_is_named() {
    let ranks = meet(Arc::new(Alone), 3, Duration::from_millis(200)).unwrap();
    let errors: Vec<String> = std::thread::scope(|scope| {
        let wait = |rank: &Ranks| rank.all_gather(&[]).unwrap_err().to_string();
        let threads: Vec<_> = [0, 2]
            .map(|rank| {
                let rank = &ranks[rank];
                scope.spawn(move || wait(rank))
            })
            .into();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for error in errors {
        assert!(error.contains("rank 1 did not come to call 1 within 0.2 s"), "{error}");
    }
    assert!(ranks[1].all_gather(&[]).is_err());
}

#[test]
fn a_rank_that_leaves_ends_the_others_calls() {
    let ranks = meet(Arc::new(Alone), 2, Duration::from_secs(60)).unwrap();
    let error = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ranks[0].all_gather(&[]).unwrap_err().to_string());
        ranks[1].leave("its disk is full");
        waiting.join().unwrap()
    });
    assert_eq!(error, "rank 1 has left: its disk is full");
}

#[test]
fn ranks_that_have_parted_find_out() {
    for processes in [1, 2] {
        let errors = on_all(processes, 2, |rank| {
            let mut values = vec![0.0f32; 1 + rank.rank()];
            rank.all_reduce_sum(Numbers::F32(&mut values)).unwrap_err().to_string()
        });
        assert!(errors.iter().all(|error| error.contains("parted")), "{errors:?}");
    }
    assert!(meet(pretended(2).remove(0), 3, Duration::from_secs(1)).is_err());
}
