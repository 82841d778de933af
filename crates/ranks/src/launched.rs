//! What the environment says of a job's processes: who started them, which one this is, where the first one can be found.
//!
//! | started by | known by | processes are found by |
//! |---|---|---|
//! | `mpirun`, or `srun` with PMIx or PMI | OMPI_COMM_WORLD_SIZE, PMI_SIZE, MPI_LOCALNRANKS, PMIX_RANK | MPI |
//! | `torchrun --no-python`, or anything that sets them | RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT | TCP ([`crate::tcp`]) |
//! | `srun` without an MPI | SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_STEP_NODELIST, SLURM_JOB_ID | TCP |
//!
//! MASTER_ADDR and MASTER_PORT count under `srun` too.

/// A variable's value, as `std::env::var(name).ok()` says it.
pub type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Whether something that starts MPI jobs has started this process, as part of a job of several.
pub fn by_mpi(variable: Variable<'_>) -> bool {
    let number = |name| variable(name).and_then(|text| text.parse::<usize>().ok());
    let sizes = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"];
    sizes.into_iter().filter_map(number).any(|size| size > 1)
        || (number("PMIX_RANK").is_some() && number("SLURM_NTASKS").is_some_and(|size| size > 1))
}

/// A process of a job that finds the others by TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which one this is, from 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
    /// Where the first one listens: a name or an address.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// What tells this job from another that uses the same port.
    pub job: String,
}

/// The place of this process in a job of several that TCP is to connect; `None` where nobody has started such a job.
///
/// Fails with a sentence when variables are there that say no sense.
///
/// ```
/// use belamy_ranks::launched::by_environment;
/// let variables = [("RANK", "1"), ("WORLD_SIZE", "4"), ("MASTER_ADDR", "node7"), ("MASTER_PORT", "29500")];
/// let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
/// let place = by_environment(&variable).unwrap().unwrap();
/// assert_eq!((place.index, place.count, &place.host[..], place.port), (1, 4, "node7", 29500));
/// assert_eq!(by_environment(&|_| None), Ok(None));
/// ```
pub fn by_environment(variable: Variable<'_>) -> Result<Option<Place>, String> {
    let number = |name: &str| match variable(name) {
        Some(text) => match text.trim().parse::<usize>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("{name}={text} is not a number")),
        },
        None => Ok(None),
    };
    let port = match number("MASTER_PORT")? {
        Some(port) => Some(u16::try_from(port).map_err(|_| format!("MASTER_PORT={port} is none"))?),
        None => None,
    };
    let (index, count, host, port, job) = match (number("RANK")?, number("WORLD_SIZE")?) {
        (Some(index), Some(count)) => {
            let (host, port) = (variable("MASTER_ADDR"), port);
            let missing = |name| format!("RANK and WORLD_SIZE are set, and {name} is not");
            let port = port.ok_or_else(|| missing("MASTER_PORT"))?;
            // torchrun keeps a store of its own at that port.
            let taken = variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|kept| kept == "True");
            let port = if taken { port.checked_add(1).unwrap_or(port - 1) } else { port };
            let job = variable("TORCHELASTIC_RUN_ID").unwrap_or_default();
            (index, count, host.ok_or_else(|| missing("MASTER_ADDR"))?, port, job)
        }
        _ => {
            let (Some(index), Some(count), Some(nodes)) = (
                number("SLURM_PROCID")?,
                number("SLURM_STEP_NUM_TASKS")?,
                variable("SLURM_STEP_NODELIST"),
            ) else {
                return Ok(None);
            };
            let (own, step) = (number("SLURM_JOB_ID")?.unwrap_or(0), variable("SLURM_STEP_ID"));
            // Above the ports that systems hand out; jobs that share a node seldom share one.
            let port = port.unwrap_or(61_000 + (own % 4000) as u16);
            let host = variable("MASTER_ADDR").unwrap_or_else(|| first_node(&nodes));
            (index, count, host, port, format!("{own}.{}", step.unwrap_or_default()))
        }
    };
    match count {
        0 | 1 => Ok(None),
        _ if index >= count => Err(format!("process {index} of {count}: there is no such one")),
        _ => Ok(Some(Place { index, count, host, port, job })),
    }
}

/// The first of SLURM's list of nodes: `node[03-05,9],other` is `node03`, `node05`, ...
fn first_node(nodes: &str) -> String {
    let end = |text: &str, marks: &[char]| text.find(marks).unwrap_or(text.len());
    let (prefix, rest) = nodes.split_at(end(nodes, &['[', ',']));
    let Some(numbers) = rest.strip_prefix('[') else { return prefix.to_owned() };
    let first = &numbers[..end(numbers, &['-', ',', ']'])];
    let tail = numbers.split_once(']').map_or("", |(_, tail)| &tail[..end(tail, &[','])]);
    format!("{prefix}{first}{tail}")
}

/// Which of the processes on its machine this one is: the number of the device that is its own.
pub fn on_this_machine(variable: Variable<'_>) -> Option<usize> {
    let names = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "LOCAL_RANK", "SLURM_LOCALID"];
    names.into_iter().find_map(|name| variable(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(variables: &[(&str, &str)]) -> Result<Option<Place>, String> {
        by_environment(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn the_first_of_a_list_of_nodes() {
        for (list, first) in [
            ("node1", "node1"),
            ("node1,node2", "node1"),
            ("node[03-05,9]", "node03"),
            ("node[7,9],other", "node7"),
            ("rack[2-3]-a,b", "rack2-a"),
            ("", ""),
        ] {
            assert_eq!(first_node(list), first, "{list}");
        }
    }

    #[test]
    fn torchrun_keeps_its_port_to_itself() {
        let set = [("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "10")];
        assert_eq!(place(&set).unwrap().unwrap().port, 10);
        let more = [("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RUN_ID", "x")];
        let found = place(&[&set[..], &more].concat()).unwrap().unwrap();
        assert_eq!((found.port, &found.job[..]), (11, "x"));
    }

    #[test]
    fn a_step_of_slurm_is_a_job_and_its_batch_script_is_none() {
        let script = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4"), ("SLURM_JOB_ID", "4242")];
        assert_eq!(place(&script), Ok(None));
        let step = [("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_STEP_NODELIST", "n[2-3]")];
        let found = place(&[&script[..], &step].concat()).unwrap().unwrap();
        assert_eq!((found.count, &found.host[..], found.port), (4, "n2", 61_242));
        let named = [("MASTER_ADDR", "n2.ib"), ("MASTER_PORT", "7000")];
        let found = place(&[&script[..], &step, &named].concat()).unwrap().unwrap();
        assert_eq!((&found.host[..], found.port), ("n2.ib", 7000));
    }

    #[test]
    fn what_says_no_sense_is_refused() {
        let sound =
            [("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "10")];
        for (name, value, says) in [
            ("RANK", "x", "RANK=x is not a number"),
            ("RANK", "2", "process 2 of 2"),
            ("MASTER_PORT", "70000", "MASTER_PORT=70000"),
            ("MASTER_PORT", "-1", "MASTER_PORT=-1"),
        ] {
            let mut set = sound.to_vec();
            set.iter_mut().filter(|(key, _)| *key == name).for_each(|pair| pair.1 = value);
            assert!(place(&set).unwrap_err().contains(says), "{name}={value}");
        }
        assert!(place(&sound[..3]).unwrap_err().contains("MASTER_PORT"));
        let alone =
            [("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "1")];
        assert_eq!(place(&alone), Ok(None));
    }
}
