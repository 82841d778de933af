// A CUDA driver that is none, in as many stages as a broken machine has:
//
//   without more      a library that exports nothing, as it is left by an installation that was cut short
//   -DINIT=CODE       cuInit alone, which returns that error
//   -DDEVICE          a device whose memory is the host's, and which takes no kernels
//   -DKERNELS         besides, one that takes them and runs none
//
// What a call is worth is told by its number alone: 0 is success.
#define _GNU_SOURCE
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long address;
enum { INVALID_IMAGE = 200, NOT_SUPPORTED = 801 };

#ifdef INIT
int cuInit(unsigned flags) { return (void)flags, INIT; }
#endif

#ifdef DEVICE
int cuInit(unsigned flags) { return (void)flags, 0; }
int cuDeviceGetCount(int *count) { return *count = 1, 0; }
int cuDeviceGet(int *device, int index) { return *device = index, 0; }
int cuDeviceGetName(char *name, int length, int device) {
    (void)device;
    strncpy(name, "a device that is none", length);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { return (void)device, *bytes = 1 << 30, 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    // 75 and 76 are the two halves of the compute capability: 8.0.
    return *value = attribute == 75 ? 8 : 0, 0;
}
int cuGetErrorName(int code, const char **name) { return (void)code, *name = "CUDA_ERROR_OF_NONE", 0; }
int cuGetErrorString(int code, const char **text) { return (void)code, *text = "there is no device", 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { return (void)device, *context = (void *)1, 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return (void)device, 0; }
int cuCtxSetCurrent(void *context) { return (void)context, 0; }
int cuStreamCreate(void **stream, unsigned flags) { return (void)flags, *stream = (void *)1, 0; }
int cuStreamDestroy_v2(void *stream) { return (void)stream, 0; }
int cuStreamSynchronize(void *stream) { return (void)stream, 0; }
int cuStreamQuery(void *stream) { return (void)stream, 0; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return (void)stream, (void)event, (int)flags; }
int cuStreamBeginCapture_v2(void *stream, int mode) { return (void)stream, (void)mode, NOT_SUPPORTED; }
int cuStreamEndCapture(void *stream, void **graph) { return (void)stream, *graph = NULL, NOT_SUPPORTED; }
int cuEventCreate(void **event, unsigned flags) { return (void)flags, *event = (void *)1, 0; }
int cuEventDestroy_v2(void *event) { return (void)event, 0; }
int cuEventRecord(void *event, void *stream) { return (void)event, (void)stream, 0; }
int cuEventSynchronize(void *event) { return (void)event, 0; }
int cuMemAlloc_v2(address *memory, size_t bytes) {
    void *found = NULL;
    int failed = posix_memalign(&found, 256, bytes);
    if (!failed) memset(found, 0, bytes);
    return *memory = (address)found, failed ? 2 : 0;
}
int cuMemFree_v2(address memory) { return free((void *)memory), 0; }
int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    (void)flags;
    return *memory = malloc(bytes), *memory == NULL ? 2 : 0;
}
int cuMemFreeHost(void *memory) { return free(memory), 0; }
int cuMemGetInfo_v2(size_t *unused, size_t *total) { return *unused = *total = 1 << 30, 0; }
int cuMemcpyHtoDAsync_v2(address to, const void *from, size_t bytes, void *stream) {
    return (void)stream, memcpy((void *)to, from, bytes), 0;
}
int cuMemcpyDtoHAsync_v2(void *to, address from, size_t bytes, void *stream) {
    return (void)stream, memcpy(to, (void *)from, bytes), 0;
}
int cuMemcpyDtoDAsync_v2(address to, address from, size_t bytes, void *stream) {
    return (void)stream, memcpy((void *)to, (void *)from, bytes), 0;
}
int cuMemsetD32Async(address to, unsigned word, size_t count, void *stream) {
    (void)stream;
    for (size_t at = 0; at < count; at++) ((unsigned *)to)[at] = word;
    return 0;
}
#ifdef KERNELS
int cuModuleLoadData(void **module, const void *image) { return (void)image, *module = (void *)1, 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
    return (void)module, (void)name, *function = (void *)1, 0;
}
int cuLaunchKernel(void) { return 0; }
#else
int cuModuleLoadData(void **module, const void *image) { return (void)image, *module = NULL, INVALID_IMAGE; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
    return (void)module, (void)name, *function = NULL, INVALID_IMAGE;
}
int cuLaunchKernel(void) { return NOT_SUPPORTED; }
#endif
int cuModuleUnload(void *module) { return (void)module, 0; }
int cuFuncSetAttribute(void *function, int attribute, int value) {
    return (void)function, (void)attribute, (void)value, 0;
}
int cuGraphDestroy(void *graph) { return (void)graph, 0; }
int cuGraphExecDestroy(void *graph) { return (void)graph, 0; }
int cuGraphInstantiateWithFlags(void) { return NOT_SUPPORTED; }
int cuGraphLaunch(void) { return NOT_SUPPORTED; }
int cuGraphUpload(void) { return NOT_SUPPORTED; }
#endif
