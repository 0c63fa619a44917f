# Everything that a study needs, from the lock, and the command `svdrift`.
#
#   docker build --tag svdrift .
#   docker run --rm --volume "$PWD:/data" --workdir /data svdrift svdrift compare anchor target
#   docker run --rm --volume svdrift-results:/opt/svdrift/results svdrift snakemake --cores all
#
# For GPUs: docker build --build-arg TORCH=https://download.pytorch.org/whl/cu130 --tag svdrift .
FROM python:3.11-slim-bookworm

# git tells provenance which commit ran; procps is what Snakemake's benchmarks look at.
RUN apt-get update -q \
    && apt-get install -qy --no-install-recommends git procps \
    && rm -rf /var/lib/apt/lists/*

ARG TORCH=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /opt/svdrift

# First what changes seldom.
COPY envs/requirements.lock envs/
RUN pip install --extra-index-url "$TORCH" -r envs/requirements.lock
COPY . .
RUN pip install --no-deps --no-build-isolation --editable .

CMD ["svdrift"]
