FROM scratch
ADD rootfs.tar /
COPY config.yml /config.yml
CMD ["/usr/bin/docker-registry", "serve", "/config.yml"]
