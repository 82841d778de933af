// An NCCL that connects whoever asks and adds nothing up. With NCCL_FAILS="NAME NTH CODE" in the environment the NTH call of a
// function fails so, and every one after it; with NCCL_CALLS=FILE each call's name is written there.
#define CALLS "NCCL_CALLS"
#define FAILS "NCCL_FAILS"
#include "calls.h"

typedef struct { char internal[128]; } identifier;

CALL(ncclGetVersion, (int *version), *version = 22203)
CALL(ncclGetUniqueId, (identifier *id), memset(id, 1, sizeof *id))
CALL(ncclCommInitRank, (void **communicator, int count, identifier id, int rank), *communicator = (void *)1)
CALL(ncclCommDestroy, (void *communicator), )
CALL(ncclCommAbort, (void *communicator), )
CALL(ncclCommGetAsyncError, (void *communicator, int *error), *error = 0)
const char *ncclGetErrorString(int code) { return "there are no ranks"; }
CALL(ncclAllReduce, (void), )
