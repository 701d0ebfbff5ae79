# One image for every service of docker-compose.yml that runs this project's own code.
FROM python:3.11-slim-bookworm

# The id of the user in Spark's image: both write into the same volume.
RUN useradd --create-home --uid 185 workbench && install -d -o workbench /app /data
WORKDIR /app
USER workbench

# The dependencies first, so that an edit of the code does not install them anew.
COPY --chown=workbench requirements.lock pyproject.toml README.md Makefile ./
COPY --chown=workbench .ci .ci
COPY --chown=workbench pipeline_lib/__init__.py pipeline_lib/
COPY --chown=workbench workbench/__init__.py workbench/
COPY --chown=workbench flows/__init__.py flows/
RUN .ci/setup .venv
COPY --chown=workbench . .

ENV PATH=/app/.venv/bin:$PATH WORKBENCH_HOME=/data
