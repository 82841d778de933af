use super::*;
use crate::meet;
use belamy_tensor::communicator::Numbers;
use std::thread;

const PATIENCE: Duration = Duration::from_secs(20);

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn place(index: usize, count: usize, port: u16) -> Place {
    Place { index, count, host: "localhost".into(), port, job: "a job".into() }
}

/// Runs a job of threads, each in the place of a process.
fn job<T: Send>(count: usize, deadline: Duration, run: impl Fn(Arc<Tcp>) -> T + Sync) -> Vec<T> {
    let port = free_port();
    thread::scope(|scope| {
        let run = &run;
        let start = |index| {
            scope.spawn(move || {
                let own = place(index, count, port);
                let tcp = Tcp::connect(&own, PATIENCE).unwrap();
                run(Arc::new(Tcp { deadline, ..(*tcp).clone() }))
            })
        };
        // The first comes last: the others look for it until it is there.
        let threads: Vec<_> = (0..count).rev().map(start).collect();
        threads.into_iter().rev().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn everybody_gets_what_each_has_sent() {
    for count in [2, 3, 5] {
        // More than any socket keeps: who waited for the other to read would wait for ever.
        for length in [0, 1, 1000, 3_000_000] {
            let message = |from: usize, to: usize| vec![(16 * from + to) as u8; length + from];
            job(count, PATIENCE, |process| {
                let own = process.index();
                for _ in 0..3 {
                    let to = (0..count).map(|other| message(own, other)).collect();
                    let from = process.exchange(to).unwrap();
                    let expected: Vec<_> = (0..count).map(|other| message(other, own)).collect();
                    assert!(from == expected, "{own} of {count}, {length}");
                }
            });
        }
    }
}

#[test]
fn what_goes_beside_is_not_mixed_up() {
    job(3, PATIENCE, |process| {
        thread::scope(|scope| {
            for (way, tag) in [(process.clone() as Arc<dyn Processes>, 1), (process.beside(), 2)] {
                scope.spawn(move || {
                    for call in 0..200 {
                        let from = way.exchange(vec![vec![tag, call]; 3]).unwrap();
                        assert_eq!(from, vec![vec![tag, call]; 3]);
                    }
                });
            }
        });
    });
}

#[test]
fn ranks_give_the_same_bits_as_in_one_process() {
    let sum = |ranks: Vec<belamy_tensor::communicator::Ranks>| -> Vec<Vec<u32>> {
        thread::scope(|scope| {
            let one = |rank: &belamy_tensor::communicator::Ranks| {
                let mut values: Vec<f32> =
                    (0..101).map(|i| ((rank.rank() * 31 + i * 17) % 89) as f32 / 89.0).collect();
                rank.all_reduce_sum(Numbers::F32(&mut values)).unwrap();
                values.into_iter().map(f32::to_bits).collect()
            };
            let threads: Vec<_> = ranks.iter().map(|rank| scope.spawn(move || one(rank))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    };
    let expected = sum(meet(Arc::new(crate::Alone), 6, PATIENCE).unwrap());
    for count in [2, 3] {
        let found = job(count, PATIENCE, |process| sum(meet(process, 6, PATIENCE).unwrap()));
        assert_eq!(found.concat(), expected);
    }
}

#[test]
fn the_first_of_a_job_may_be_by_themselves() {
    job(3, PATIENCE, |process| {
        if process.index() < 2 {
            let two = process.first(2);
            let own = vec![process.index() as u8];
            assert_eq!(two.exchange(vec![own.clone(), own]).unwrap(), [vec![0], vec![1]]);
        }
        process.exchange(vec![Vec::new(); 3]).unwrap();
    });
}

#[test]
fn one_that_ends_leaves_or_is_silent_is_named() {
    let call = |process: &Tcp| process.exchange(vec![vec![1, 2, 3]; 3]);
    let ended = job(3, PATIENCE, |process| match process.index() {
        2 => String::new(),
        _ => call(&process).unwrap_err(),
    });
    for found in &ended[..2] {
        let ways = ["process 2 has ended its connection", "process 2 cannot be reached any more"];
        // Or the first to notice has ended in its turn.
        let others = ["process 0", "process 1"];
        assert!(ways.iter().chain(&others).any(|way| found.contains(way)), "{found}");
    }
    assert!(ended[..2].iter().any(|found| found.contains("process 2")), "{ended:?}");

    let left = job(3, PATIENCE, |process| match process.index() {
        1 => {
            process.abort("rank 1 has left: its disk is full");
            thread::sleep(Duration::from_millis(300));
            String::new()
        }
        _ => {
            let found = call(&process).unwrap_err();
            thread::sleep(Duration::from_millis(300));
            found
        }
    });
    assert_eq!([&left[0], &left[2]], ["rank 1 has left: its disk is full"; 2]);

    let silent = job(2, Duration::from_millis(200), |process| match process.index() {
        1 => {
            thread::sleep(Duration::from_millis(600));
            String::new()
        }
        _ => process.exchange(vec![vec![0; 100]; 2]).unwrap_err(),
    });
    assert_eq!(silent[0], "process 1 has not answered for 0.2 s");
}

#[test]
fn one_that_does_not_come_is_named() {
    let (port, short) = (free_port(), Duration::from_millis(300));
    let missing = Tcp::connect(&place(0, 2, port), short).unwrap_err();
    assert!(missing.starts_with(&format!("process 1 at localhost:{port}: ")), "{missing}");
    let first = Tcp::connect(&place(1, 2, free_port()), short).unwrap_err();
    assert!(first.starts_with("process 0 at localhost:"), "{first}");
    let nowhere = Place { host: "there-is-no-such-host.invalid".into(), ..place(1, 2, port) };
    assert!(Tcp::connect(&nowhere, short).unwrap_err().contains("there is no such host"));
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = Tcp::connect(&place(0, 2, port), short).unwrap_err();
    assert!(refused.contains(&format!("cannot listen at port {port}")), "{refused}");
}

#[test]
fn strangers_are_turned_away() {
    let port = free_port();
    thread::scope(|scope| {
        let job: Vec<_> = (0..2)
            .map(|index| scope.spawn(move || Tcp::connect(&place(index, 2, port), PATIENCE)))
            .collect();
        let until = Instant::now() + PATIENCE;
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        // Of another job, of a job of another size, of no job.
        let other = Place { job: "another".into(), ..place(1, 2, port) };
        let larger = place(1, 3, port);
        let noise = vec![0xff; 64];
        for words in [greeting(&other, 1), greeting(&larger, 1), noise, vec![]] {
            if let Ok(mut stranger) = TcpStream::connect(address) {
                let _ = send(&mut stranger, &words, until);
            }
        }
        for process in job {
            process.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_message_that_is_none_takes_no_memory() {
    let mut passing = Passing::of(&[]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut liar = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    liar.write_all(&(LONGEST + 1).to_le_bytes()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let found = passing.go_on(&mut stream, &[]).unwrap_err();
    assert_eq!((&found[..], passing.message.capacity()), ("has sent what is no message", 0));
}
