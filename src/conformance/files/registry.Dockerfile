FROM scratch
ADD rootfs.tar /
COPY read.yml write.yml /etc/docker/registry/
COPY serve /serve
CMD ["/bin/busybox", "sh", "/serve"]
