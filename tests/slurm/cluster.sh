#!/bin/bash
# A SLURM of one node in a folder, from Debian's packages, installed nowhere.
#
#   cluster.sh start FOLDER     fetches, extracts, configures and starts it
#   cluster.sh stop FOLDER      stops it; what was fetched stays
#   . FOLDER/env.sh             sbatch, squeue and the others, for this shell
#
# NODE_CPUS=64 says how many processors the node claims to have: SLURM counts them and looks no further, so that many
# small jobs run at once on a small machine. NOTICE=term leaves out preempt_send_user_signal, as on clusters where a
# pre-empted job is sent nothing but SIGTERM.
set -eu

fail() { echo "cluster.sh: $*" >&2; exit 1; }
[ $# = 2 ] || fail "usage: cluster.sh start|stop FOLDER"
action=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
root=$folder/root
libraries=$root/usr/lib/x86_64-linux-gnu
plugins=$libraries/slurm-wlm
state=$folder/state

packages="munge libmunge2 slurmctld slurmd slurm-client slurm-wlm-basic-plugins
  libhwloc15 libnuma1 liblz4-1 libpmix2 libevent-core-2.1-7 libevent-pthreads-2.1-7 libpam0g libaudit1"

fetch() {
    [ -e "$folder/fetched" ] && return
    mkdir -p "$folder/packages" "$root"
    (cd "$folder/packages" && apt-get -qq download $packages 2>"$folder/fetch.log") ||
        fail "apt-get download failed: see $folder/fetch.log (apt-get update, as root, may help)"
    for package in "$folder"/packages/*.deb; do dpkg-deb -x "$package" "$root"; done
    touch "$folder/fetched"
}

configure() {
    mkdir -p "$state/controller" "$state/node" "$state/munge" "$folder/bin"
    # munged refuses a folder that others may write to, or whose key they may read.
    chmod 0755 "$state" "$state/munge"
    [ -e "$state/munge/key" ] || (umask 077; head -c 1024 /dev/urandom >"$state/munge/key")
    # The daemons have other names in Debian than those by which they look for each other.
    for tool in "$root"/usr/bin/*; do ln -sf "$tool" "$folder/bin/"; done
    host=$(hostname -s)
    user=$(id -un)
    notice=SlurmctldParameters=preempt_send_user_signal
    [ "${NOTICE:-user}" = user ] || notice=
    # KillWait and GraceTime are such as clusters have. cred_expire is how long SLURM lets a job lie that is queued
    # again, two minutes unless told otherwise. The intervals are short so that a test does not wait for the scheduler.
    cat >"$folder/slurm.conf" <<END
ClusterName=belamy
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$state/munge/socket,cred_expire=${REQUEUE_DELAY:-10}
SlurmctldPort=${CONTROLLER_PORT:-16817}
SlurmdPort=${NODE_PORT:-16818}
PluginDir=$plugins
StateSaveLocation=$state/controller
SlurmdSpoolDir=$state/node
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmctldDebug=verbose
SlurmdDebug=debug2
LogTimeFormat=iso8601_ms
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
ReturnToService=2
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0,batch_sched_delay=0,defer
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
$notice
JobRequeue=1
KillWait=30
MinJobAge=3600
MaxJobCount=5000
OverTimeLimit=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=${NODE_CPUS:-64} State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=20 MaxTime=INFINITE State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP
END
    cat >"$folder/env.sh" <<END
export SLURM_CONF=$folder/slurm.conf
export LD_LIBRARY_PATH=$libraries:$plugins\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export PATH=$folder/bin:\$PATH
END
}

# Each daemon writes its process id into a file of its own.
is_up() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

wait_until() {
    for _ in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done
    return 1
}

start() {
    fetch
    is_up "$state/slurmctld.pid" && fail "it is running: stop it first"
    rm -rf "$state/controller" "$state/node" "$folder"/*.log
    configure
    . "$folder/env.sh"
    "$root/usr/sbin/munged" --force --socket="$state/munge/socket" --key-file="$state/munge/key" \
        --pid-file="$state/munge/pid" --log-file="$folder/munged.log" --seed-file="$state/munge/seed"
    "$root/usr/sbin/slurmctld-wlm" -c
    "$root/usr/sbin/slurmd-wlm" -d "$root/usr/sbin/slurmstepd-wlm" -N "$(hostname -s)"
    wait_until is_idle || fail "the node does not come up: see $folder/slurmctld.log and $folder/slurmd.log"
    sinfo
}

is_idle() { sinfo -h -o %T | grep -q idle; }

stop() {
    . "$folder/env.sh"
    scancel --partition=low,high --signal=KILL 2>/dev/null || true
    scancel --partition=low 2>/dev/null || true
    scancel --partition=high 2>/dev/null || true
    for daemon in slurmd.pid slurmctld.pid munge/pid; do
        is_up "$state/$daemon" || continue
        process=$(cat "$state/$daemon")
        kill "$process"
        for _ in $(seq 100); do kill -0 "$process" 2>/dev/null || break; sleep 0.1; done
    done
}

case $action in
    start) start ;;
    stop) stop ;;
    *) fail "usage: cluster.sh start|stop FOLDER" ;;
esac
