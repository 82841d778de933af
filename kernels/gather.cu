// Rows of a table by number.
//
//   gather_rows        y[k, :] = table[index[k], :]                        (zeros where index[k] >= V)
//   scatter_add_rows   table[v, :] = sum over k of (index[k] == v) y[k, :]   (positions with index[k] >= V are dropped)
//
//   table: [V, D]    index: [K] of u32    y: [K, D]
//
// One thread owns one output element; a table's row looks through all positions and sums those that name it, in order.
// `gather_rows` moves numbers as their bits, whatever their type. Cost: gather one pass; scatter V D K comparisons.

struct GatherParams {
    unsigned rows, columns, count;
};

extern "C" __global__ void gather_rows(GatherParams p, const unsigned* table, const unsigned* index, unsigned* y)
{
    const unsigned k = global_thread() / p.columns, column = global_thread() % p.columns;
    if (k >= p.count) return;
    y[global_thread()] = index[k] < p.rows ? table[index[k] * p.columns + column] : 0;
}

extern "C" __global__ void scatter_add_rows(GatherParams p, const float* y, const unsigned* index, float* table)
{
    const unsigned row = global_thread() / p.columns, column = global_thread() % p.columns;
    if (row >= p.rows) return;
    float sum = 0.0f;
    for (unsigned k = 0; k < p.count; k++)
        if (index[k] == row) sum += y[k * p.columns + column];
    table[global_thread()] = sum;
}
