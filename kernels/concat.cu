// Joining tensors along an axis: each row of b is set after the row of a.
//
//   concat   y[row, i] = i < first ? a[row, i] : b[row, i - first]
//
// One thread owns one output element. Numbers are moved as their bits, whatever their type. Cost: one pass over each
// operand.

struct ConcatParams {
    unsigned rows, first, second;
};

extern "C" __global__ void concat(ConcatParams p, const unsigned* a, const unsigned* b, unsigned* y)
{
    const unsigned columns = p.first + p.second, row = global_thread() / columns, at = global_thread() % columns;
    if (row >= p.rows) return;
    y[global_thread()] = at < p.first ? a[row * p.first + at] : b[row * p.second + at - p.first];
}
