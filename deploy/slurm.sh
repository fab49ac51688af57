#!/bin/bash
# A sweep under Slurm, its nodes a Ray cluster for as long as the job lasts. Not run under Slurm itself: see
# deploy/README.md. `ray symmetric-run` ends with `ray stop`, which ends every Ray of yours on a node: so --exclusive.
#
#   sbatch deploy/slurm.sh my.yaml --out /shared/sweeps/my --max-hours 23.5
#
#SBATCH --job-name=jackpot
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-task=4
#SBATCH --time=24:00:00

set -euo pipefail
: "${1:?usage: sbatch deploy/slurm.sh SPEC [OPTIONS of jackpot run]}"

# the working copy with its .venv lies on the shared file system, and so does the token in the home folder
source "$SLURM_SUBMIT_DIR/.venv/bin/activate"
(umask 077 && ray get-auth-token --generate > /dev/null)
export RAY_AUTH_MODE=token
JACKPOT_CACHE="${TMPDIR:-/tmp}/jackpot-$(id -un)"
export JACKPOT_CACHE

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# slow file systems let Python start late: wait ten minutes for all nodes
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=600
srun ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "$SLURM_GPUS_PER_TASK" \
  -- jackpot run "$@" --address auto
