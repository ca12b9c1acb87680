/* A double of NVML with two devices, for machines without one: the calls that the sampler makes, with the types of
   nvml.h. Device 1 is like a MIG slice: it knows no utilisation and no power. */
#include <stdio.h>
#include <stdlib.h>

typedef struct { int number; } device;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned int gpu, memory; } utilization;

static device devices[2] = {{0}, {1}};
static int open_count;
enum { SUCCESS = 0, NOT_SUPPORTED = 3, UNINITIALIZED = 1 };

int nvmlInit_v2(void) { return getenv("NVML_DOUBLE_FAILS") ? 9 : (open_count++, SUCCESS); }
int nvmlShutdown(void) { return open_count-- > 0 ? SUCCESS : UNINITIALIZED; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, device **found) { *found = &devices[index]; return SUCCESS; }
int nvmlDeviceGetUUID(device *one, char *text, unsigned int size) {
  snprintf(text, size, "GPU-%d-aaaa", one->number);
  return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(device *one, memory *out) {
  out->total = 80ull << 30;
  out->used = (one->number + 1ull) << 30;
  out->free = out->total - out->used;
  return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(device *one, utilization *out) {
  if (one->number) return NOT_SUPPORTED;
  out->gpu = 97;
  out->memory = 12;
  return SUCCESS;
}
int nvmlDeviceGetTemperature(device *one, int sensor, unsigned int *celsius) {
  *celsius = 40 + one->number;
  return sensor ? NOT_SUPPORTED : SUCCESS;
}
int nvmlDeviceGetPowerUsage(device *one, unsigned int *milliwatts) {
  *milliwatts = 345600;
  return one->number ? NOT_SUPPORTED : SUCCESS;
}
