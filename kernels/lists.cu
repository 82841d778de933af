// Many tensors in one launch: their addresses and lengths travel in the parameter block.
//
// A block of 256 threads owns a chunk of CHUNK elements of one tensor. Tensors are numbered within the launch;
// `first_block[t]` is the number of the block that owns tensor t's first chunk.

#define CHUNK 4096u

template <int LISTS, int CAPACITY>
struct Lists {
    const float* list[LISTS][CAPACITY];
    unsigned length[CAPACITY];
    unsigned first_block[CAPACITY];
    unsigned count, padding;

    // Which tensor this block works on.
    __device__ unsigned tensor() const
    {
        unsigned low = 0, high = count;  // first_block[low] <= block < first_block[high]
        while (high - low > 1) {
            const unsigned middle = (low + high) / 2;
            if (first_block[middle] <= blockIdx.x) low = middle;
            else high = middle;
        }
        return low;
    }

    // Where this block's chunk of tensor t begins.
    __device__ unsigned begin(unsigned t) const { return (blockIdx.x - first_block[t]) * CHUNK; }
};
