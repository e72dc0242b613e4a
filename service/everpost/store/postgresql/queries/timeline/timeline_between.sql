SELECT began_s, counts FROM timeline WHERE began_s >= :from_s AND began_s < :until_s ORDER BY began_s
