/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PARTS_H
#define PARTS_H

struct parts_session {
	unsigned long id;
	char name[56];
};

struct parts_session *parts_open(unsigned long id);
void parts_close(struct parts_session *s);

#endif
