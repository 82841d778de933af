// A convolution by its definition, for `belamy lab conv2d.so --op conv2d`.
// cc -O3 -shared -fPIC conv2d.c -o conv2d.so

#include <stdint.h>

struct Conv2dParams {
    uint32_t batch, in_height, in_width, in_channels, out_height, out_width, out_channels;
    uint32_t kernel_height, kernel_width, stride_height, stride_width;
    uint32_t padding_top, padding_left, dilation_height, dilation_width, groups;
};

struct belamy_tensor {
    void *data;
    uint64_t elements;
};

void belamy_conv2d(const struct Conv2dParams *p, const struct belamy_tensor *inputs, const struct belamy_tensor *outputs)
{
    const float *x = inputs[0].data, *w = inputs[1].data;
    float *y = outputs[0].data;
    const uint32_t in_group = p->in_channels / p->groups, out_group = p->out_channels / p->groups;
    for (uint32_t n = 0; n < p->batch; n++)
    for (uint32_t oh = 0; oh < p->out_height; oh++)
    for (uint32_t ow = 0; ow < p->out_width; ow++)
    for (uint32_t o = 0; o < p->out_channels; o++) {
        float sum = 0;
        for (uint32_t kh = 0; kh < p->kernel_height; kh++)
        for (uint32_t kw = 0; kw < p->kernel_width; kw++) {
            // Above and left of the image the difference is huge.
            const uint32_t ih = oh * p->stride_height + kh * p->dilation_height - p->padding_top;
            const uint32_t iw = ow * p->stride_width + kw * p->dilation_width - p->padding_left;
            if (ih >= p->in_height || iw >= p->in_width) continue;
            const float *pixel = x + (((uint64_t)n * p->in_height + ih) * p->in_width + iw) * p->in_channels + o / out_group * in_group;
            const float *tap = w + ((o * p->kernel_height + kh) * p->kernel_width + kw) * in_group;
            for (uint32_t c = 0; c < in_group; c++) sum += pixel[c] * tap[c];
        }
        *y++ = sum;
    }
}
