//! NCCL: GPUs that add up what they have without their hosts.
//!
//! NVIDIA's library is looked for when ranks meet, and its types are cudarc's. What a rank needs of it is one reduction, which
//! is queued on a stream as a kernel is, and recorded with a step as a kernel is. Ranks find each other by the
//! communicator that they have already, whatever started them: the first makes an identifier and hands it round.
//!
//! Where the library is missing anywhere, two ranks share a GPU, or `BELAMY_NCCL=0` is set, numbers go through the hosts.
//!
//! NCCL adds in an order of its own. It is the same from run to run on the same number of the same machines, which is what
//! its makers promise; it is not that of the hosts' sums.

use crate::driver::Reduce;
use belamy_tensor::communicator::Communicator;
use belamy_tensor::{DType, Error, Result};
use cudarc::nccl::sys::{cudaStream_t, ncclComm_t, ncclDataType_t, ncclRedOp_t, ncclUniqueId};
use libloading::Library;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::fmt;
use std::sync::Arc;

/// The library's names: the one that programs are linked against is in the packages for developers alone.
const NAMES: [&str; 2] = ["libnccl.so.2", "libnccl.so"];
const SUCCESS: c_int = 0;
/// What a communicator that is not at fault says of itself: nothing, or that it is at work.
const IN_PROGRESS: c_int = 7;

type Count = usize;

/// The functions that are used. Results are numbers here: the bindings' enumerations know only their version's.
struct Functions {
    version: unsafe extern "C" fn(*mut c_int) -> c_int,
    unique_id: unsafe extern "C" fn(*mut ncclUniqueId) -> c_int,
    init_rank: unsafe extern "C" fn(*mut ncclComm_t, c_int, ncclUniqueId, c_int) -> c_int,
    destroy: unsafe extern "C" fn(ncclComm_t) -> c_int,
    abort: unsafe extern "C" fn(ncclComm_t) -> c_int,
    async_error: unsafe extern "C" fn(ncclComm_t, *mut c_int) -> c_int,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    all_reduce: unsafe extern "C" fn(
        *const c_void,
        *mut c_void,
        Count,
        ncclDataType_t,
        ncclRedOp_t,
        ncclComm_t,
        cudaStream_t,
    ) -> c_int,
    /// Keeps them where they are.
    _library: Library,
}

/// NCCL, as it was found.
#[derive(Clone)]
pub(crate) struct Nccl(Arc<Functions>);

impl fmt::Debug for Nccl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NCCL {}", self.version().unwrap_or(0))
    }
}

/// NCCL's version, or a sentence that says why ranks' GPUs add up through their hosts.
pub fn version() -> std::result::Result<String, String> {
    // 22203 is 2.22.3.
    let number = Nccl::find()?.version()?;
    Ok(format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100))
}

impl Nccl {
    /// The library where the system finds it. Fails with a sentence where it is missing, or `BELAMY_NCCL=0` forbids it.
    pub(crate) fn find() -> std::result::Result<Nccl, String> {
        if std::env::var_os("BELAMY_NCCL").is_some_and(|value| value == "0") {
            return Err("BELAMY_NCCL=0 forbids NCCL".to_owned());
        }
        let found = NAMES.into_iter().find_map(|name| Nccl::open(name).ok());
        found.ok_or_else(|| "NCCL (libnccl.so.2) was not found, or lacks functions".to_owned())
    }

    /// A library by its name or path.
    pub(crate) fn open(name: impl AsRef<OsStr>) -> std::result::Result<Nccl, String> {
        // SAFETY: NCCL, and what stands in for it in tests, run nothing of ours when they are loaded.
        let library = unsafe { Library::new(name.as_ref()) }.map_err(|error| error.to_string())?;
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: each has this signature in every version since 2.10 (nccl.h).
                *unsafe { library.get($name.as_bytes()) }
                    .map_err(|_| concat!("it has no ", $name).to_owned())?
            };
        }
        Ok(Nccl(Arc::new(Functions {
            version: function!("ncclGetVersion"),
            unique_id: function!("ncclGetUniqueId"),
            init_rank: function!("ncclCommInitRank"),
            destroy: function!("ncclCommDestroy"),
            abort: function!("ncclCommAbort"),
            async_error: function!("ncclCommGetAsyncError"),
            error_string: function!("ncclGetErrorString"),
            all_reduce: function!("ncclAllReduce"),
            _library: library,
        })))
    }

    fn checked(&self, doing: &str, code: c_int) -> std::result::Result<(), String> {
        if matches!(code, SUCCESS | IN_PROGRESS) {
            return Ok(());
        }
        // SAFETY: it returns a text that lives as long as the library, or null.
        let text = unsafe { (self.0.error_string)(code).as_ref() }
            // SAFETY: as above; it ends with a zero.
            .map_or("an error".into(), |text| unsafe { CStr::from_ptr(text) }.to_string_lossy());
        Err(format!("NCCL, {doing}: {text} ({code}); NCCL_DEBUG=WARN tells more"))
    }

    fn version(&self) -> std::result::Result<i32, String> {
        let mut version = 0;
        // SAFETY: it writes a number there.
        let code = unsafe { (self.0.version)(&mut version) };
        self.checked("asked for its version", code).map(|()| version)
    }

    fn unique_id(&self) -> std::result::Result<ncclUniqueId, String> {
        let mut id = ncclUniqueId { internal: [0; 128] };
        // SAFETY: it fills the bytes.
        let code = unsafe { (self.0.unique_id)(&mut id) };
        self.checked("making an identifier", code).map(|()| id)
    }
}

/// The GPUs of some ranks, connected.
pub(crate) struct Group {
    nccl: Nccl,
    /// Null once it was ended.
    communicator: ncclComm_t,
}

// SAFETY: a communicator may be used by any thread, one at a time: it is behind the driver's lock.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group(of {:?})", self.nccl)
    }
}

/// Connects the device that is current, called `own` and by no two the same name, with those of the other ranks. `None` where
/// one of them has no NCCL, or it is the device of another rank too. Every rank calls it, with `enter` making its device
/// current.
///
/// Fails when a rank has left, or NCCL cannot connect them.
pub(crate) fn meet(
    nccl: &std::result::Result<Nccl, String>,
    own: &str,
    ranks: &dyn Communicator,
    enter: impl FnOnce() -> std::result::Result<(), String>,
) -> Result<Option<Group>> {
    // One that fails here must not let the others wait in NCCL, which knows no deadline.
    let version = enter().and_then(|()| nccl.as_ref().map_err(String::clone)?.version()).ok();
    let mine = version.map_or(String::new(), |version| format!("{version} {own}"));
    let mut all = ranks.all_gather(mine.as_bytes())?;
    let count = all.len();
    let version_of = |one: &Vec<u8>| one.split(|byte| *byte == b' ').next().map(<[u8]>::to_vec);
    let is_one = all.iter().all(|one| !one.is_empty() && version_of(one) == version_of(&all[0]));
    all.sort();
    all.dedup();
    let (Ok(nccl), true) = (nccl, is_one && all.len() == count) else { return Ok(None) };
    // The first rank's identifier, or why it has none.
    let made = (ranks.rank() == 0).then(|| nccl.unique_id());
    let mine = match &made {
        Some(Ok(id)) => id.internal.map(|byte| byte as u8).to_vec(),
        Some(Err(why)) => why.clone().into_bytes(),
        None => Vec::new(),
    };
    let first = ranks.all_gather(&mine)?.swap_remove(0);
    let Ok(internal) = <[u8; 128]>::try_from(&first[..]) else {
        return Err(Error::ranks(String::from_utf8_lossy(&first)));
    };
    let id = ncclUniqueId { internal: internal.map(|byte| byte as c_char) };
    let mut communicator: ncclComm_t = std::ptr::null_mut();
    // SAFETY: it writes the communicator there; all ranks make this call.
    let code =
        unsafe { (nccl.0.init_rank)(&mut communicator, count as c_int, id, ranks.rank() as c_int) };
    let group = Group { nccl: nccl.clone(), communicator };
    let connected = nccl.checked("connecting GPUs", code).map(|()| group);
    let said = connected.as_ref().err().cloned().unwrap_or_default();
    let failures = ranks.all_gather(said.as_bytes())?;
    match failures.iter().position(|said| !said.is_empty()) {
        Some(rank) => {
            let why = String::from_utf8_lossy(&failures[rank]);
            Err(Error::ranks(format!("rank {rank}: {why}; BELAMY_NCCL=0 does without")))
        }
        None => connected.map(Some).map_err(Error::ranks),
    }
}

impl Group {
    /// Queues a reduction on a stream of the device.
    ///
    /// # Safety
    ///
    /// Both addresses are of as many numbers on the device, which live until the stream has passed it.
    pub(crate) unsafe fn reduce(
        &self,
        reduce: &Reduce,
        stream: cudaStream_t,
    ) -> std::result::Result<(), String> {
        let of = if reduce.mean { ncclRedOp_t::ncclAvg } else { ncclRedOp_t::ncclSum };
        let dtype = match reduce.dtype {
            DType::F32 => ncclDataType_t::ncclFloat32,
            DType::U32 => ncclDataType_t::ncclUint32,
            DType::F64 => return Err("no numbers of 64 bits are on a GPU".to_owned()),
        };
        let Reduce { from, to, count, .. } = *reduce;
        if self.communicator.is_null() {
            return Err("the ranks' GPUs are not connected any more".to_owned());
        }
        // SAFETY: the caller vouches for the memory; the communicator lives as long as `self`.
        let code = unsafe {
            let (from, to) = (from as *const c_void, to as *mut c_void);
            (self.nccl.0.all_reduce)(from, to, count, dtype, of, self.communicator, stream)
        };
        self.nccl.checked("reducing", code)
    }

    /// What went wrong with what was queued, if something did.
    pub(crate) fn failure(&self) -> Option<String> {
        if self.communicator.is_null() {
            return None;
        }
        let mut found = SUCCESS;
        // SAFETY: it writes a number there; the communicator lives as long as `self`.
        let code = unsafe { (self.nccl.0.async_error)(self.communicator, &mut found) };
        let asked = self.nccl.checked("asked how it is", code);
        asked.and_then(|()| self.nccl.checked("among ranks", found)).err()
    }

    /// Ends what was queued, whether or not the others take part.
    pub(crate) fn abort(&mut self) {
        let communicator = std::mem::replace(&mut self.communicator, std::ptr::null_mut());
        if !communicator.is_null() {
            // SAFETY: it was just taken out: nobody uses it after.
            let _ = unsafe { (self.nccl.0.abort)(communicator) };
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.communicator.is_null() {
            // SAFETY: nobody has it any more, and its device is current, or has ended.
            let _ = unsafe { (self.nccl.0.destroy)(self.communicator) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NVIDIA's own library has every function that is used, under its name. It needs no GPU for that.
    #[test]
    fn nvidias_library_is_one() {
        match Nccl::find() {
            Ok(nccl) => assert!(nccl.version().unwrap() >= 21_000, "{nccl:?}"),
            Err(why) => {
                let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
                assert!(!required.split(',').any(|name| name.trim() == "nccl"), "{why}");
                use std::io::Write;
                let _ = writeln!(
                    std::io::stdout().lock(),
                    "skipped: nvidias_library_is_one (nccl: {why})"
                );
            }
        }
    }

    #[test]
    fn what_is_no_nccl_is_none() {
        assert!(Nccl::open("libm.so.6").is_err());
        assert!(Nccl::open("/nowhere/libnccl.so.2").is_err());
    }
}
