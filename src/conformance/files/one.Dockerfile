FROM scratch
ADD rootfs.tar /
COPY say /say
STOPSIGNAL SIGKILL
CMD ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/"]
