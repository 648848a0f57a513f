"""A real Slurm of two nodes on the loopback interface, with its own munge: for tests of cohorts.

    with SlurmCluster(folder) as cluster:
        subprocess.run(["sbatch", ...], env=cluster.environment)

Configuration, state, key, sockets and logs are below `folder`; nothing of a Slurm or munge that the system runs is used or touched. All
daemons are children of this process and are ended by their process ids.
"""

import os
import shutil
import signal
import socket
import subprocess
import time

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")


def find(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def missing():
    """Why there can be no cluster here, or nothing."""
    absent = [program for program in NEEDED if not find(program)]
    if absent:
        return "no " + ", ".join(absent) + " (scripts/install_dependencies.sh cohort)"
    if os.getuid() != 0:
        return "slurmd has to be started by root"
    return None


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class SlurmCluster:
    """Nodes node1 and node2, one processor each."""

    def __init__(self, folder, memory_mib=3000):
        self.folder = folder
        self.memory_mib = memory_mib
        self.configuration = os.path.join(folder, "slurm.conf")
        self.environment = dict(os.environ, SLURM_CONF=self.configuration)
        for name in list(self.environment):
            if name.startswith(("SLURM_", "SBATCH_")) and name != "SLURM_CONF":
                del self.environment[name]
        self.daemons = {}

    def path(self, name):
        return os.path.join(self.folder, name)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def daemon(self, name, arguments):
        log = open(self.path(name + ".log"), "ab")
        with log:
            self.daemons[name] = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )

    def configure(self):
        os.makedirs(self.folder, exist_ok=True)
        os.chmod(self.folder, 0o755)
        with open(self.path("munge.key"), "wb") as key:
            key.write(os.urandom(128))
        os.chmod(self.path("munge.key"), 0o400)
        for name in ("state", "spool-node1", "spool-node2", "munge"):
            os.makedirs(self.path(name), exist_ok=True)
            os.chmod(self.path(name), 0o755)
        host = socket.gethostname().split(".")[0]
        lines = [
            "ClusterName=e2enet-test",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={free_port()}",
            "AuthType=auth/munge",
            f"AuthInfo=socket={self.path('munge/socket')}",
            "SlurmUser=root",
            f"StateSaveLocation={self.path('state')}",
            f"SlurmdSpoolDir={self.path('spool-%n')}",
            f"SlurmctldPidFile={self.path('slurmctld.pid')}",
            f"SlurmdPidFile={self.path('slurmd-%n.pid')}",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_CPU_Memory",
            # Looks at the memory of a job's processes once a second and ends it where that is too much.
            "JobAcctGatherType=jobacct_gather/linux",
            "JobAcctGatherFrequency=task=1",
            "JobAcctGatherParams=OverMemoryKill",
            "ReturnToService=2",
            "KillWait=5",
            "MpiDefault=none",
            "MailProg=/bin/true",
            "SchedulerParameters=sched_interval=2,batch_sched_delay=0",
            f"NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs=1 RealMemory={self.memory_mib}",
            f"NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs=1 RealMemory={self.memory_mib}",
            "PartitionName=main Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP",
            "SlurmdParameters=config_overrides",
        ]
        with open(self.configuration, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        with open(self.path("cgroup.conf"), "w", encoding="utf-8") as file:
            file.write("CgroupAutomount=no\n")

    def start(self):
        self.configure()
        self.daemon(
            "munged",
            [find("munged"), "--foreground", "--force", "--num-threads=2", f"--key-file={self.path('munge.key')}",
             f"--socket={self.path('munge/socket')}", f"--pid-file={self.path('munge/pid')}",
             f"--log-file={self.path('munge/log')}", f"--seed-file={self.path('munge/seed')}"],
        )
        self.wait_for(lambda: os.path.exists(self.path("munge/socket")), "munged")
        self.daemon("slurmctld", [find("slurmctld"), "-D", "-f", self.configuration])
        for node in ("node1", "node2"):
            self.start_node(node)
        self.wait_for(self.ready, "nodes")

    def start_node(self, node):
        self.daemon("slurmd-" + node, [find("slurmd"), "-D", "-N", node, "-f", self.configuration])

    def restart_node(self, node):
        """As an administrator would: the daemon ends and comes again, and what runs on the node goes on."""
        daemon = self.daemons.pop("slurmd-" + node)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
        self.start_node(node)

    def run(self, *arguments):
        return subprocess.run(arguments, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True, check=False)

    def ready(self):
        said = self.run("sinfo", "--noheader", "--Node", "--format=%N %t")
        return said.returncode == 0 and sorted(said.stdout.split()) == ["idle", "idle", "node1", "node2"]

    def wait_for(self, condition, what, seconds=90):
        end = time.monotonic() + seconds
        while not condition():
            for name, daemon in self.daemons.items():
                if daemon.poll() is not None:
                    raise RuntimeError(f"{name} ended with {daemon.returncode}: {self.log(name)}")
            if time.monotonic() > end:
                logs = "\n".join(f"== {name}\n{self.log(name)}" for name in self.daemons)
                raise RuntimeError(f"{what}: not ready after {seconds} s\n{logs}")
            time.sleep(0.2)

    def log(self, name):
        with open(self.path(name + ".log"), encoding="utf-8", errors="replace") as file:
            return file.read()[-2000:]

    def stop(self):
        if "slurmctld" in self.daemons and self.daemons["slurmctld"].poll() is None:
            self.run("scancel", "--user=root", "--full")
            end = time.monotonic() + 15
            while time.monotonic() < end and self.run("squeue", "--noheader").stdout.strip():
                time.sleep(0.2)
        # In the reverse order, so that nobody misses whom it talks to.
        for name in reversed(list(self.daemons)):
            daemon = self.daemons.pop(name)
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
                try:
                    daemon.wait(15)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
