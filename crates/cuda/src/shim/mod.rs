//! The kernels executed on the processor, for tests on machines without a GPU.
//!
//! The same texts that NVRTC compiles go through the system's C++ compiler after `host.h`, which stands for CUDA's model
//! of execution. Memory is watched: every buffer lies between canaries that are checked after each launch, and buffers
//! and canaries are NaN (for integers the largest number) until something is written, so that what a kernel reads
//! before it was written or beyond the end shows in its results.

mod memory;
#[cfg(test)]
mod tests;

use crate::driver::{Driver, Launch, Packed, Reduce, Replay};
use crate::nccl::{self, Group, Nccl};
use crate::recording::Step;
use crate::source::{FOREIGN, Source};
use crate::{Cuda, compile};
use belamy_tensor::DeviceId;
use belamy_tensor::communicator::Communicator;
use belamy_tensor::kernel::KernelId;
use libloading::Library;
use memory::Watched;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, c_char, c_uint, c_void};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

const HOST: &str = include_str!("host.h");

/// The C++ compiler: `CXX`, or `c++`.
fn compiler() -> String {
    std::env::var("CXX").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "c++".into())
}

/// Whether there is a C++ compiler to run the kernels through.
pub fn present() -> bool {
    Command::new(compiler()).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A backend that runs the kernels on the processor; libraries are kept in `folder`. The compiler is given `flags` after
/// the usual ones.
///
/// Fails when there is no C++ compiler.
pub fn open(folder: &Path, flags: &[&str]) -> Result<Cuda, String> {
    if !present() {
        return Err(format!("there is no C++ compiler `{}`: set CXX to one", compiler()));
    }
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(Cuda::new(Arc::new(Host::new(folder, flags, None))))
}

/// As [`open`], with what stands in for NCCL: a library whose functions have its names, and take a processor's addresses.
pub fn open_with_nccl(folder: &Path, library: &Path) -> Result<Cuda, String> {
    open(folder, &[])?;
    let host = Host::new(folder, &[], None);
    host.0.nccl.set(Nccl::open(library)?).map_err(|_| "it was just made")?;
    Ok(Cuda::new(Arc::new(host)))
}

/// The names of entry points that were run, and how often.
pub type Entries = Arc<Mutex<BTreeMap<String, u32>>>;

/// As [`open`], and where entry points are noted when they are run: for tests that none is left out.
pub fn open_noting(folder: &Path) -> Result<(Cuda, Entries), String> {
    open(folder, &[])?;
    let host = Host::new(folder, &[], None);
    let entries = Arc::clone(&host.0.entries);
    Ok((Cuda::new(Arc::new(host)), entries))
}

/// A kernel's file, and the text that stands in its place.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// The file.
    pub file: String,
    /// The text.
    pub text: String,
}

/// As [`open`], but that one of the kernels' files has another text: for tests that a wrong one is seen. The families
/// named are compiled at once; their libraries are not kept.
///
/// Fails with what the compiler says when one of them is not valid.
///
/// # Safety
///
/// The text runs as it is, and what it reads or writes beyond its buffers is this process's memory: it must be right, or
/// the process must be there for nothing else.
pub unsafe fn open_with(
    folder: &Path,
    replaced: Replaced,
    families: &[&str],
) -> Result<Cuda, String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let host = Host::new(folder, &[], Some(replaced));
    for family in families {
        let source = Source::of(family).ok_or_else(|| format!("there is no family {family}"))?;
        if let Some(Err(message)) = host.load(source).get() {
            return Err(message.clone());
        }
    }
    Ok(Cuda::new(Arc::new(host)))
}

/// The offsets that the compiled family gives the fields of a kernel's parameter struct, and the struct's size; in
/// bytes, in the fields' order.
pub fn struct_layout(folder: &Path, kernel: KernelId) -> Result<Vec<u32>, String> {
    let source = Source::of(kernel.family());
    let source = source.ok_or_else(|| format!("there is no family {}", kernel.family()))?;
    let library = build(folder, source, &[], None)?;
    let name = format!("layout_{}\0", kernel.name());
    // SAFETY: the text declares an array of this name and type, one word for each field and one for the size.
    let words = unsafe { library.get::<*const c_uint>(name.as_bytes()) };
    let words = words.map_err(|error| format!("{}: {error}", kernel.name()))?;
    let layout = kernel.layout();
    let count = layout.integers.len() + layout.scalars.len() + 1;
    // SAFETY: as above, and the library is loaded until after the words are copied.
    Ok((0..count).map(|index| unsafe { *words.add(index) }).collect())
}

type Entry =
    unsafe extern "C" fn(*mut *mut c_void, c_uint, c_uint, c_uint, c_uint, *mut c_char) -> c_uint;

/// A family's library, or why there is none.
type Loaded = Arc<OnceLock<Result<Library, String>>>;

/// The processor as a device.
#[derive(Clone, Debug)]
struct Host(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    flags: Vec<String>,
    replaced: Option<Replaced>,
    libraries: Mutex<HashMap<&'static str, Loaded>>,
    /// Entry points that were run.
    entries: Entries,
    memory: Mutex<Watched>,
    recording: Mutex<Option<Recorded>>,
    /// What adds up over ranks, if anything does.
    nccl: OnceLock<Nccl>,
    groups: Mutex<Vec<Group>>,
}

/// What was queued while a step was recorded.
#[derive(Debug, Default)]
struct Recorded {
    steps: Vec<Step>,
    /// Memory that was taken and given back meanwhile: replays use it.
    freed: Vec<u64>,
}

/// A family's text for the C++ compiler.
fn text(source: &Source, replaced: Option<&Replaced>) -> String {
    let mut text = HOST.to_string();
    for entry in source.entries() {
        // Names such as `select` are taken by the system's headers.
        let _ = writeln!(text, "#define {entry} kernel_{entry}");
    }
    let own = source.text();
    let part = |replaced: &&Replaced| source.parts.iter().find(|(file, _)| *file == replaced.file);
    match replaced.and_then(|replaced| part(&replaced).map(|(_, before)| (before, &replaced.text)))
    {
        Some((before, by)) => text.push_str(&own.replacen(before, by, 1)),
        None => text.push_str(&own),
    }
    text.push_str("#line 1 \"entries\"\n");
    for entry in source.entries() {
        let _ =
            writeln!(text, "#undef {entry}\n#define {entry} kernel_{entry}\nBELAMY_ENTRY({entry})");
    }
    for kernel in KernelId::ALL.iter().filter(|kernel| kernel.family() == source.family) {
        let layout = kernel.layout();
        let name = layout.name;
        let integers = layout.integers.iter().map(|(field, _)| *field);
        let offsets: String = integers
            .chain(layout.scalars.iter().copied())
            .map(|field| format!("offsetof({name}, {field}), "))
            .collect();
        let kernel = kernel.name();
        let _ = writeln!(
            text,
            "#undef {kernel}\nextern \"C\" const unsigned layout_{kernel}[] = {{{offsets}sizeof({name})}};"
        );
    }
    text
}

/// What a text that may be wrong, and is run but a few times, is compiled with: an index beyond an array in
/// registers and an address that four numbers at once must not have end the process.
const DISTRUSTED: [&str; 4] =
    ["-w", "-O1", "-fsanitize=bounds,alignment", "-fsanitize-undefined-trap-on-error"];

/// Compiles a family, unless that was done before, and loads it.
fn build(
    folder: &Path,
    source: &Source,
    more: &[String],
    replaced: Option<&Replaced>,
) -> Result<Library, String> {
    let family = source.family;
    let flags = [
        "-x",
        "c++",
        "-std=c++17",
        "-O2",
        "-g1",
        "-fPIC",
        "-shared",
        "-ffp-contract=off",
        "-fno-strict-aliasing",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unknown-pragmas",
        "-Wno-unused-function",
    ];
    let replaced =
        replaced.filter(|replaced| source.parts.iter().any(|(file, _)| *file == replaced.file));
    let is_distrusted = replaced.is_some() || family == FOREIGN;
    let text = text(source, replaced);
    let key = compile::key(&[&compiler(), &flags.join(" "), &more.join(" "), &text]);
    let path = folder.join(format!("{family}-{key}.so"));
    if !path.is_file() {
        // Several devices of one process, in tests that run at once, may build the same family.
        static BUILDS: AtomicU32 = AtomicU32::new(0);
        let build = BUILDS.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{family}-{key}-{}-{build}", std::process::id());
        let (unit, made) = (folder.join(unique.clone() + ".cpp"), folder.join(unique + ".so"));
        std::fs::write(&unit, &text).map_err(|error| format!("{}: {error}", unit.display()))?;
        let output = Command::new(compiler())
            .args(flags)
            .args(more)
            .args(if is_distrusted { &DISTRUSTED[..] } else { &[] })
            .arg(&unit)
            .arg("-o")
            .arg(&made)
            .output();
        let output = output.map_err(|error| format!("{}: {error}", compiler()))?;
        if !output.status.success() {
            if is_distrusted {
                let _ = std::fs::remove_file(unit);
            }
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        // Under its own name only when whole: others may be looking.
        std::fs::rename(&made, &path).map_err(|error| format!("{}: {error}", path.display()))?;
        let _ = std::fs::remove_file(unit);
    }
    // SAFETY: the library was made of this crate's texts, or of one that somebody vouched for; it runs no code when it is
    // loaded.
    let library = unsafe { Library::new(&path) };
    if replaced.is_some() {
        // Nobody will ask for it again.
        let _ = std::fs::remove_file(&path);
    }
    library.map_err(|error| format!("{}: {error}", path.display()))
}

impl Host {
    fn new(folder: &Path, flags: &[&str], replaced: Option<Replaced>) -> Host {
        Host(Arc::new(Inner {
            folder: folder.to_path_buf(),
            flags: flags.iter().map(|flag| flag.to_string()).collect(),
            replaced,
            libraries: Mutex::default(),
            entries: Arc::default(),
            memory: Mutex::default(),
            recording: Mutex::default(),
            nccl: OnceLock::new(),
            groups: Mutex::default(),
        }))
    }

    /// Builds and loads a family, once.
    fn load(&self, source: &Source) -> Loaded {
        let cell = {
            let libraries = self.0.libraries.lock();
            let mut libraries = libraries.unwrap_or_else(PoisonError::into_inner);
            Arc::clone(libraries.entry(source.family).or_default())
        };
        let Inner { folder, flags, replaced, .. } = &*self.0;
        cell.get_or_init(|| build(folder, source, flags, replaced.as_ref()));
        cell
    }

    fn memory(&self) -> MutexGuard<'_, Watched> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recording(&self) -> MutexGuard<'_, Option<Recorded>> {
        self.0.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups(&self) -> MutexGuard<'_, Vec<Group>> {
        self.0.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_while_recording(&self) -> Result<(), String> {
        match *self.recording() {
            Some(_) => Err("a step is being recorded: it must not copy, nor wait".into()),
            None => Ok(()),
        }
    }

    /// Runs a kernel of a family that is loaded.
    fn run(&self, loaded: &Loaded, launch: &Launch<'_>) -> Result<(), String> {
        let library = match loaded.get() {
            Some(Ok(library)) => library,
            Some(Err(message)) => return Err(format!("{}.cu: {message}", launch.source.family)),
            None => return Err(format!("{}.cu was not built", launch.source.family)),
        };
        let mut entries = self.0.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // Of a kernel every other launch runs its blocks in the other order, whatever is launched in between.
        let launches = entries.entry(launch.entry.to_owned()).or_default();
        let seed = *launches;
        *launches = launches.wrapping_add(1);
        drop(entries);
        let name = format!("launch_{}\0", launch.entry);
        // SAFETY: the text defines each `launch_..` by one macro, with this signature.
        let entry = unsafe { library.get::<Entry>(name.as_bytes()) };
        let entry = entry.map_err(|error| format!("{}: {error}", launch.entry))?;
        let mut packed = Packed::new(launch.arguments);
        let mut pointers = packed.pointers();
        let mut message = [0 as c_char; 256];
        // SAFETY: the arguments' number is checked by the callee, their sizes by the test of struct layouts; buffers
        // live until the call returns, because it runs the kernel to its end.
        let failed = unsafe {
            entry(
                pointers.as_mut_ptr(),
                pointers.len() as c_uint,
                launch.blocks,
                launch.threads,
                seed,
                message.as_mut_ptr(),
            )
        };
        if failed != 0 {
            // SAFETY: the callee ends its message with a zero.
            let message = unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy();
            return Err(format!("{}: {message}", launch.entry));
        }
        self.memory().check().map_err(|message| format!("{}: {message}", launch.entry))
    }
}

impl Driver for Host {
    fn id(&self) -> DeviceId {
        DeviceId { name: "cuda-shim", index: 0 }
    }

    fn has_warpgroups(&self) -> bool {
        true
    }

    fn alloc(&self, bytes: usize) -> Result<u64, String> {
        Ok(self.memory().alloc(bytes))
    }

    fn free(&self, address: u64, _bytes: usize) {
        match &mut *self.recording() {
            Some(recorded) => recorded.freed.push(address),
            None => self.memory().free(address),
        }
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), String> {
        self.refuse_while_recording()?;
        self.memory().bounds(address, bytes.len())?;
        // SAFETY: the bounds were checked, and the caller alone holds a buffer that it writes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
        Ok(())
    }

    fn fill(&self, address: u64, word: u32, count: usize) -> Result<(), String> {
        if let Some(recorded) = &mut *self.recording() {
            recorded.steps.push(Step::Fill { address, word, count });
            return Ok(());
        }
        self.memory().bounds(address, 4 * count)?;
        // SAFETY: the bounds were checked, buffers are aligned, and the caller alone holds one that it writes.
        unsafe { std::slice::from_raw_parts_mut(address as *mut u32, count) }.fill(word);
        Ok(())
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        self.refuse_while_recording()?;
        self.memory().bounds(address, bytes.len())?;
        // SAFETY: the bounds were checked; a buffer is not written after the launch that made it.
        unsafe {
            std::ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), bytes.len());
        }
        Ok(())
    }

    fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), String> {
        if let Some(recorded) = &mut *self.recording() {
            recorded.steps.push(Step::Copy { from, to, bytes });
            return Ok(());
        }
        self.memory().bounds(from, bytes)?;
        self.memory().bounds(to, bytes)?;
        // SAFETY: the bounds were checked; the caller says what may be overwritten.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    fn launch(&self, launch: &Launch<'_>) -> Result<(), String> {
        if let Some(recorded) = &mut *self.recording() {
            recorded.steps.push(launch.noted());
            return Ok(());
        }
        self.run(&self.load(launch.source), launch)
    }

    fn prepare(&self, source: &'static Source) -> Result<(), String> {
        match self.load(source).get() {
            Some(Err(message)) => Err(message.clone()),
            _ => Ok(()),
        }
    }

    fn synchronize(&self) -> Result<(), String> {
        self.refuse_while_recording()
    }

    fn meet(&self, ranks: &dyn Communicator) -> belamy_tensor::Result<Option<usize>> {
        let nccl = self.0.nccl.get().cloned().ok_or_else(String::new);
        let own = format!("{}-{:p}", std::process::id(), Arc::as_ptr(&self.0));
        let met = nccl::meet(&nccl, &own, ranks, || Ok(()))?;
        let mut groups = self.groups();
        Ok(met.map(|group| {
            groups.push(group);
            groups.len() - 1
        }))
    }

    fn reduce(&self, reduce: &Reduce) -> Result<(), String> {
        if let Some(recorded) = &mut *self.recording() {
            recorded.steps.push(Step::Reduce(*reduce));
            return Ok(());
        }
        self.memory().bounds(reduce.from, 4 * reduce.count)?;
        self.memory().bounds(reduce.to, 4 * reduce.count)?;
        let groups = self.groups();
        let group = groups.get(reduce.group).ok_or("there is no such group of ranks")?;
        // SAFETY: the bounds were checked, and it is done when the call returns.
        unsafe { group.reduce(reduce, std::ptr::null_mut()) }
    }

    fn join(&self) -> Result<(), String> {
        if let Some(recorded) = &mut *self.recording() {
            recorded.steps.push(Step::Join);
        }
        Ok(())
    }

    fn begin_capture(&self) -> Result<(), String> {
        self.refuse_while_recording()?;
        *self.recording() = Some(Recorded::default());
        Ok(())
    }

    fn end_capture(
        &self,
        finish: &mut dyn FnMut(&mut Vec<Step>),
    ) -> Result<Box<dyn Replay>, String> {
        let mut recorded = self.recording().take().ok_or("no step is being recorded")?;
        finish(&mut recorded.steps);
        Ok(Box::new(Steps { host: self.clone(), recorded }))
    }
}

/// A recorded step.
#[derive(Debug)]
struct Steps {
    host: Host,
    recorded: Recorded,
}

impl Replay for Steps {
    fn replay(&self) -> Result<(), String> {
        for step in &self.recorded.steps {
            match step {
                Step::Copy { from, to, bytes } => self.host.copy(*from, *to, *bytes)?,
                Step::Fill { address, word, count } => self.host.fill(*address, *word, *count)?,
                Step::Reduce(reduce) => self.host.reduce(reduce)?,
                Step::Join => {}
                Step::Launch { source, entry, blocks, threads, shared, arguments } => {
                    self.host.launch(&Launch {
                        source,
                        entry,
                        blocks: *blocks,
                        threads: *threads,
                        shared: *shared,
                        arguments,
                    })?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        let mut memory = self.host.memory();
        self.recorded.freed.iter().for_each(|&address| memory.free(address));
    }
}
