"""The commented spec that `jackpot new` writes."""

from __future__ import annotations

_TEMPLATE = """\
# A sweep: every method at every sparsity, with every seed, on every model. Values shown after a # are the
# defaults, or examples where there is none. `jackpot validate FILE` says what is wrong with it.

name: my-sweep                    # its results go to sweeps/my-sweep

data:
  name: digits                    # 1,797 handwritten digits, 8x8, embedded; or cifar10, cifar100, tiny_imagenet,
                                  # imagenet, image_folder, fake, or your module:factory with its options
  # root: data/images             # of those that are files; image_folder: with train/CLASS/*.png, test/CLASS/*.png
  # download: true                # cifar10, cifar100: into root, where they are not there yet
  # size: 64                      # image_folder, imagenet: side of the square made of images of other sizes
  # resize: 256                   # imagenet: length of the shorter side before that square is cut out
  # stream: false                 # image_folder: read batch by batch; if left out, where too large to decode once
  # test: 0.2                     # digits: fraction of all images held out for the final test
  # validation: 0.1               # fraction of the training images that steers and never trains; 0: none
  # split_seed: 0                 # the one draw of these sets, the same for all trials
  # mean: [0.5, 0.5, 0.5]         # of each channel, to normalise with; measured if left out (not of digits, fake)
  # std: [0.25, 0.25, 0.25]       # likewise
  # shape: [3, 32, 32]            # fake: channels, height, width; and classes, train and test (how many), seed

model:
  name: convnet                   # or lenet_300_100, lenet5, conv3, resnet8/20/32/56/110, vgg11/16/19,
                                  # resnet18_cifar, resnet50_cifar, mobilenet_v2_cifar; or one of torchvision's, such
                                  # as resnet18 (torchvision.models:vgg19 for a name of both); or your module:factory;
                                  # further keys are options of the network, such as width: 2 of a resnet;
                                  # several networks: model: [convnet, {name: resnet20, width: 2}]
  # weights: dense.safetensors    # a .safetensors or .pt file, or torchvision's, to start from

prunable:                         # what may be pruned: every convolution and linear map,
  exclude: []                     # but for these patterns of module names, e.g. [fc, "stage1.*"]

recipe:                           # how every network is trained, dense and pruned alike
  epochs: 20
  batch: 64                       # images a step
  optimiser: sgd                  # or adam
  lr: 0.1
  momentum: 0.9                   # of sgd
  nesterov: false                 # of sgd
  weight_decay: 5e-4              # L2 penalty on every parameter
  label_smoothing: 0.0
  precision: float32              # or bfloat16: faster on GPUs, and on processors with AVX512-BF16 or AMX
  compile: false                  # true: torch.compile, and CUDA graphs; half a minute of the first trial's time
  schedule:                       # the learning rate over time, as a factor of lr
    name: cosine                  # or constant, or milestones, with
    # at: [80ep, 120ep]           # the steps, in epochs (ep) or iterations (it), that multiply it by gamma
    # gamma: 0.1
    warmup: 0ep                   # length of a linear rise from zero at the start
  augmentation:
    crop: 0                       # pixels of padding before a random crop; 0: none
    # random_resized_crop: [0.08, 1]   # cut out this share of the image's area, resized; instead of crop
    flip: false                   # mirror half of the images
    rotation: 0                   # degrees, either way, that an image is turned at most

methods:                          # `jackpot methods` lists them, `jackpot methods NAME` explains one
  - dense                         # nothing removed: one trial a seed and model
  - name: random
    ratio: [smart, erk]           # a list is a grid: one trial for each value
  - name: snip
    checks: [rearrange]           # sanity checks, each one more trial: also random_labels, random_pixels, half_data,
                                  # shuffle_weights, reinitialise, same_ratio_random, same_ratio_magnitude
  - name: lottery
    fraction: 0.2                 # of the weights left, removed at each level
    rewind_to: 0ep

sparsities: [0.9, 0.95, 0.98]     # fractions of the prunable weights to remove
seeds: [0, 1, 2]                  # the same for every method, so that differences are paired

# search:                         # for the layer-wise ratio under which a method's tickets are best
#   method: hybrid                # or random, one_shot, lottery, lr_rewinding, fine_tune, filter_prune; with options
#   sparsity: 0.95                # every proposal removes exactly this; or [0.9, 0.98]: one more coordinate
#   objectives: [accuracy/val]    # one or two, e.g. also macs, sparsity/global, latency/ms/b1 (goal: max or min)
#   space: polynomial             # or free, erk_power, stages, mixture; further keys are its options
#   bounds: {"conv1": [0.1, 1]}   # least and greatest keep ratio of layers, by pattern of their names
#   sampler: tpe                  # or nsga2, nsga3, gp, cmaes, qmc, random; further keys are Optuna's options of it
#   trials: 60                    # proposals, warm starts included
#   seed: 0                       # of the proposals' draws and trainings
#   seeds: 1                      # how many training seeds they take in turn: seed, seed + 1, ...
#   concurrency: 2                # proposals in flight
#   max_hours: 8                  # none is made later
#   warm_starts: [uniform, erk]   # tried first (default: all that the space can express); also a file of ratios, or
                                  # the folder of a former sweep with a search
#   fidelity: {rungs: [0ep, 5ep], reduction: 3}  # stop what is behind at these steps of the ticket's training
#   finalists: {best: 1, seeds: [100, 101, 102, 103, 104]}  # trained again beside every formula, and tested

resources:                        # of one trial
  cpu: 1
  gpu: 0                          # a fraction, such as 0.25, lets trials share a GPU
# concurrency: 2                  # trials at once; as many as fit if left out

failures:
  max_failures: 2                 # how often a trial whose worker died is started again
  stall_minutes: 60               # a worker that tells of no progress for so long is ended
  # max_failed_trials: 5          # stop once more trials than this have failed; never if left out

latency:                          # measured once for each network structure, while nothing else runs here
  enabled: true
  batches: [1, 64]                # images of one forward pass
  seconds: 1                      # of measuring, for each structure and batch size; up to 5 times that if noisy
  runtimes: [dense]               # also compact (emptied channels removed), compiled, onnxruntime: each costs every
                                  # masked trial a measurement of its own
  # device: A100                  # where machines differ: the accelerator type to measure on; else the most common

sanity:
  margin: 0.5                     # points of accuracy that do not matter: a ticket that differs by less fails a check

tracking:                         # MLflow
  enabled: true
  # uri: http://localhost:5000    # a server or database; mlflow.db in the sweep's folder if left out
  experiment: jackpot
  system_metrics: false           # with every epoch, how busy the machine was and how full its memories

# storage: sweeps                 # the folder that holds the folders of sweeps
keep: all                         # every stage, so that extending the sweep is cheap; or tickets: drop at the
                                  # end what no ticket needs
"""


def template() -> str:
    """A complete spec that runs as it is, every key of every section explained."""
    return _TEMPLATE
