// A compiler of kernels (NVRTC) that makes an image of nothing of whatever it is given, for a driver that looks into none.
#include <stddef.h>

int nvrtcVersion(int *major, int *minor) { return *major = 13, *minor = 0, 0; }
int nvrtcGetErrorString(int code) { return code; }
int nvrtcGetNumSupportedArchs(int *count) { return *count = 1, 0; }
int nvrtcGetSupportedArchs(int *numbers) { return *numbers = 80, 0; }
int nvrtcCreateProgram(void **program) { return *program = (void *)1, 0; }
int nvrtcDestroyProgram(void **program) { return *program = NULL, 0; }
int nvrtcCompileProgram(void) { return 0; }
int nvrtcGetProgramLogSize(void *program, size_t *bytes) { return (void)program, *bytes = 1, 0; }
int nvrtcGetProgramLog(void *program, char *text) { return (void)program, *text = 0, 0; }
int nvrtcGetCUBINSize(void *program, size_t *bytes) { return (void)program, *bytes = 1, 0; }
int nvrtcGetCUBIN(void *program, char *image) { return (void)program, *image = 0, 0; }
int nvrtcGetPTXSize(void *program, size_t *bytes) { return (void)program, *bytes = 1, 0; }
int nvrtcGetPTX(void *program, char *text) { return (void)program, *text = 0, 0; }
