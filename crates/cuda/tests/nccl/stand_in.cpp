// What of NCCL's interface Belamy uses, for ranks in threads of one process, with addresses of its memory. It says
// which order ranks' numbers are added in, checks that all ranks of a call mean the same, and knows nothing of streams: a
// call has ended when it returns.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace {

enum { success = 0, system_error = 2, invalid_argument = 4, invalid_usage = 5 };
enum { type_uint32 = 3, type_float32 = 7 };
enum { op_sum = 0, op_average = 4 };

struct Call {
    const void* from;
    size_t count;
    int type, op;
};

struct Group {
    std::mutex lock;
    std::condition_variable changed;
    size_t ranks = 0, come = 0;
    uint64_t calls = 0, ended = 0;
    std::vector<Call> brought;
    std::vector<uint32_t> result;
    bool agree = true, over = false;
};

struct Communicator {
    std::shared_ptr<Group> group;
    size_t rank;
};

std::mutex registry_lock;
std::map<std::string, std::shared_ptr<Group>> registry;
uint64_t identifiers = 0;

template <class T> void reduce(Group& group)
{
    const Call& first = group.brought[0];
    group.result.resize(first.count);
    for (size_t at = 0; at < first.count; at++) {
        T sum{};
        for (const Call& call : group.brought) sum += static_cast<const T*>(call.from)[at];
        if (first.op == op_average) sum = sum / static_cast<T>(group.ranks);
        std::memcpy(&group.result[at], &sum, sizeof sum);
    }
}

} // namespace

extern "C" {

struct Id {
    char internal[128];
};

int ncclGetVersion(int* version)
{
    *version = 22203;
    return success;
}

const char* ncclGetErrorString(int code)
{
    return code == system_error ? "unhandled system error" : code == invalid_usage ? "invalid usage" : "an error";
}

int ncclGetUniqueId(Id* id)
{
    std::lock_guard<std::mutex> guard(registry_lock);
    std::memset(id, 0, sizeof *id);
    const uint64_t number = ++identifiers;
    std::memcpy(id->internal, &number, sizeof number);
    return success;
}

int ncclCommInitRank(Communicator** made, int ranks, Id id, int rank)
{
    // A job of five is one that cannot be connected.
    if (ranks == 5 && rank == 3) return system_error;
    std::lock_guard<std::mutex> guard(registry_lock);
    auto& group = registry[std::string(id.internal, sizeof id.internal)];
    if (!group) {
        group = std::make_shared<Group>();
        group->ranks = ranks;
        group->brought.resize(ranks);
    }
    if (group->ranks != size_t(ranks)) return invalid_argument;
    *made = new Communicator{group, size_t(rank)};
    return success;
}

int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, Communicator* own, void*)
{
    Group& group = *own->group;
    std::unique_lock<std::mutex> guard(group.lock);
    if (group.come == 0) group.agree = true;
    group.brought[own->rank] = {from, count, type, op};
    const uint64_t call = group.calls;
    if (++group.come == group.ranks) {
        for (const Call& other : group.brought)
            group.agree = group.agree && other.count == count && other.type == type && other.op == op;
        if (group.agree) type == type_float32 ? reduce<float>(group) : reduce<uint32_t>(group);
        group.calls++;
        group.changed.notify_all();
    } else {
        group.changed.wait(guard, [&] { return group.calls > call || group.over; });
        if (group.calls == call) return system_error;
    }
    const bool agree = group.agree;
    if (agree) std::memcpy(to, group.result.data(), count * sizeof(uint32_t));
    // The next call begins when all have taken this one's result.
    if (--group.come == 0) {
        group.ended++;
        group.changed.notify_all();
    } else {
        group.changed.wait(guard, [&] { return group.ended > call || group.over; });
    }
    return agree ? success : invalid_usage;
}

int ncclCommGetAsyncError(Communicator*, int* found)
{
    *found = success;
    return success;
}

int ncclCommDestroy(Communicator* own)
{
    delete own;
    return success;
}

int ncclCommAbort(Communicator* own)
{
    {
        std::lock_guard<std::mutex> guard(own->group->lock);
        own->group->over = true;
        own->group->changed.notify_all();
    }
    return ncclCommDestroy(own);
}
}
