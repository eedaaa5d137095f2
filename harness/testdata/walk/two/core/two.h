/* SPDX-License-Identifier: GPL-2.0 */
struct two_port {
	unsigned long lane[8];
};

struct two_port *two_open(void);
void two_close(struct two_port *p);
