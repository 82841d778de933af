// A CUDA driver that is none, in as many stages as a broken machine has:
//
//   without more      a library that exports nothing, as it is left by an installation that was cut short
//   -DINIT=CODE       cuInit alone, which returns that error
//   -DDEVICE          a device whose memory is the host's, and which takes no kernels
//   -DKERNELS         besides, one that takes them and runs none, and records no step
//   -DGRAPHS          besides, one that records what it does not run
//
// What a call is worth is told by its number alone: 0 is success. With DRIVER_FAILS="NAME NTH CODE" in the environment the
// NTH call of a function fails so, and every one after it; with DRIVER_CALLS=FILE each call's name is written there.
#define _GNU_SOURCE
#include <stdlib.h>

typedef unsigned long long address;
enum { OUT_OF_MEMORY = 2, INVALID_IMAGE = 200, NOT_SUPPORTED = 801 };

#ifdef INIT
int cuInit(unsigned flags) { return (void)flags, INIT; }
#endif

#ifdef DEVICE
#define CALLS "DRIVER_CALLS"
#define FAILS "DRIVER_FAILS"
#include "calls.h"

CALL(cuInit, (unsigned flags), )
CALL(cuDeviceGetCount, (int *count), *count = 1)
CALL(cuDeviceGet, (int *device, int index), *device = index)
CALL(cuDeviceGetName, (char *name, int length, int device), strncpy(name, "a device that is none", length))
CALL(cuDeviceTotalMem_v2, (size_t *bytes, int device), *bytes = 1 << 30)
// 75 and 76 are the two halves of the compute capability: 8.0.
CALL(cuDeviceGetAttribute, (int *value, int attribute, int device), *value = attribute == 75 ? 8 : 0)
// A device for each rank.
CALL(cuDeviceGetUuid_v2, (char *uuid, int device), {
    const char *rank = getenv("RANK");
    memset(uuid, rank ? *rank : 0, 16);
})
int cuGetErrorName(int code, const char **name) { return *name = "CUDA_ERROR_OF_NONE", 0; }
int cuGetErrorString(int code, const char **text) { return *text = "there is no device", 0; }
CALL(cuDevicePrimaryCtxRetain, (void **context, int device), *context = (void *)1)
CALL(cuDevicePrimaryCtxRelease_v2, (int device), )
CALL(cuCtxSetCurrent, (void *context), )
CALL(cuStreamCreate, (void **stream, unsigned flags), *stream = (void *)1)
CALL(cuStreamDestroy_v2, (void *stream), )
CALL(cuStreamSynchronize, (void *stream), )
CALL(cuStreamQuery, (void *stream), )
CALL(cuStreamWaitEvent, (void *stream, void *event, unsigned flags), )
CALL(cuEventCreate, (void **event, unsigned flags), *event = (void *)1)
CALL(cuEventDestroy_v2, (void *event), )
CALL(cuEventRecord, (void *event, void *stream), )
CALL(cuEventSynchronize, (void *event), )

CALL(cuMemAlloc_v2, (address *memory, size_t bytes), {
    void *found = NULL;
    if (posix_memalign(&found, 256, bytes)) return OUT_OF_MEMORY;
    memset(found, 0, bytes);
    *memory = (address)found;
})
CALL(cuMemFree_v2, (address memory), free((void *)memory))
CALL(cuMemHostAlloc, (void **memory, size_t bytes, unsigned flags), if (!(*memory = malloc(bytes))) return OUT_OF_MEMORY)
CALL(cuMemFreeHost, (void *memory), free(memory))
CALL(cuMemGetInfo_v2, (size_t *unused, size_t *total), *unused = *total = 1 << 30)
CALL(cuMemcpyHtoDAsync_v2, (address to, const void *from, size_t bytes, void *stream), memcpy((void *)to, from, bytes))
CALL(cuMemcpyDtoHAsync_v2, (void *to, address from, size_t bytes, void *stream), memcpy(to, (void *)from, bytes))
CALL(cuMemcpyDtoDAsync_v2, (address to, address from, size_t bytes, void *stream), memcpy((void *)to, (void *)from, bytes))
CALL(cuMemsetD32Async, (address to, unsigned word, size_t count, void *stream), {
    for (size_t at = 0; at < count; at++) ((unsigned *)to)[at] = word;
})

#ifdef KERNELS
CALL(cuModuleLoadData, (void **module, const void *image), *module = (void *)1)
CALL(cuModuleGetFunction, (void **function, void *module, const char *name), *function = (void *)1)
CALL(cuLaunchKernel, (void), )
#else
CALL(cuModuleLoadData, (void **module, const void *image), return INVALID_IMAGE)
CALL(cuModuleGetFunction, (void **function, void *module, const char *name), return INVALID_IMAGE)
CALL(cuLaunchKernel, (void), return NOT_SUPPORTED)
#endif
CALL(cuModuleUnload, (void *module), )
CALL(cuFuncSetAttribute, (void *function, int attribute, int value), )

#ifdef GRAPHS
CALL(cuStreamBeginCapture_v2, (void *stream, int mode), )
CALL(cuStreamEndCapture, (void *stream, void **graph), *graph = (void *)1)
CALL(cuGraphInstantiateWithFlags, (void **executable, void *graph, unsigned long long flags), *executable = (void *)1)
CALL(cuGraphLaunch, (void *executable, void *stream), )
CALL(cuGraphUpload, (void *executable, void *stream), )
#else
CALL(cuStreamBeginCapture_v2, (void *stream, int mode), return NOT_SUPPORTED)
CALL(cuStreamEndCapture, (void *stream, void **graph), return NOT_SUPPORTED)
CALL(cuGraphInstantiateWithFlags, (void), return NOT_SUPPORTED)
CALL(cuGraphLaunch, (void), return NOT_SUPPORTED)
CALL(cuGraphUpload, (void), return NOT_SUPPORTED)
#endif
CALL(cuGraphDestroy, (void *graph), )
CALL(cuGraphExecDestroy, (void *executable), )
#endif
